//! The requests that a command reads, by namespace, labels, pool and ticket.

use clap::Args;
use kube::{
    Api, Resource,
    api::DynamicObject,
    core::{ApiResource, TypeMeta},
};
use serde_json::Value;

use crate::{
    cluster::Cluster,
    failure::Failure,
    naming::is_same_ticket,
    pages::{Pages, field},
    request::Request,
    shell::quoted,
    terminal::shown,
};

/// The flags that select requests by what they say. Each narrows the selection.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Requests with these labels, as in `kubectl get -l`
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Requests of this user pool
    #[arg(long, value_name = "ID")]
    pub pool: Option<String>,
    /// Requests of this ticket, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    pub ticket: Option<String>,
}

/// The flags that select requests of a namespace or of all.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The filter.
    #[command(flatten)]
    pub filter: Filter,
    /// Requests of all namespaces
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
}

/// Parses the name of a request as people type it, or as `-o name` of this plugin and of kubectl
/// prints it, with its type before a slash.
///
/// # Errors
/// When it is the name of something else.
pub fn name(text: &str) -> Result<String, String> {
    let (kind, name) = text.rsplit_once('/').unwrap_or(("prr", text));
    let is_request =
        ["prr", "passwordresetrequest", "passwordresetrequests"].contains(&kind.split('.').next().unwrap_or(kind));
    // Other characters would lead to another path of the API server.
    let is_part = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-' || it == '.';
    let is_name = !name.trim_matches('.').is_empty() && name.chars().all(is_part);
    if is_request && is_name { Ok(name.to_owned()) } else { Err("not the name of a request".to_owned()) }
}

/// A request as it is stored, and as far as this plugin can parse it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The object, without managed fields.
    pub object: DynamicObject,
    /// The request; `None` if this plugin cannot parse it.
    pub request: Option<Request>,
}

impl From<DynamicObject> for Listed {
    fn from(mut object: DynamicObject) -> Self {
        object.metadata.managed_fields = None;
        // Items of a list have neither kind nor version.
        let [api_version, kind] = [Request::api_version(&()), Request::kind(&())].map(|name| name.into_owned());
        object.types = Some(TypeMeta { api_version, kind });
        let request = serde_json::to_value(&object).and_then(serde_json::from_value).ok();
        Self { object, request }
    }
}

impl Filter {
    /// Returns the selectors of fields by which the API server compares.
    #[must_use]
    pub fn fields(&self) -> Vec<String> {
        self.pool.iter().map(|pool| field("spec.userPoolID", pool)).collect()
    }

    /// Returns true if an object has the ticket, which the API server does not compare.
    #[must_use]
    pub fn takes(&self, object: &DynamicObject) -> bool {
        let ticket = object.data.pointer("/spec/ticket").and_then(Value::as_str);
        self.ticket.as_deref().is_none_or(|wanted| ticket.is_some_and(|ticket| is_same_ticket(ticket, wanted)))
    }

    /// Returns the filter in words, such as ["pool p_1", "ticket INC-7"].
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let Self { selector, pool, ticket } = self;
        let parts = [("labels", selector), ("pool", pool), ("ticket", ticket)];
        parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", shown(value.as_ref()?)))).collect()
    }

    /// Returns the filter as words of a shell, such as ["--ticket INC-7"].
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        let Self { selector, pool, ticket } = self;
        let parts = [("--ticket", ticket), ("--pool", pool), ("-l", selector)];
        parts.into_iter().filter_map(|(flag, value)| Some(format!("{flag} {}", quoted(value.as_ref()?)))).collect()
    }
}

impl Selection {
    /// Returns the pages of the selected requests, one after the other as they are asked for.
    /// `more` are further selectors of fields.
    #[must_use]
    pub fn pages(&self, cluster: &Cluster, more: Option<String>) -> Requests<'_> {
        let mut fields = self.filter.fields();
        fields.extend(more);
        let api = api(cluster, self.all_namespaces);
        Requests {
            filter: &self.filter,
            pages: Pages::new(api, &fields, self.filter.selector.as_deref()),
            what: format!("list requests {}", self.place(cluster)),
        }
    }

    /// Returns the selection in words, such as "in namespace support, ticket INC-7".
    #[must_use]
    pub fn described(&self, cluster: &Cluster) -> String {
        let mut words = vec![self.place(cluster)];
        words.extend(self.filter.words());
        words.join(", ")
    }

    fn place(&self, cluster: &Cluster) -> String {
        match self.all_namespaces {
            true => "in all namespaces".to_owned(),
            false => format!("in namespace {}", cluster.namespace),
        }
    }
}

/// Returns the requests of the command's namespace, or of all, in any shape.
#[must_use]
pub fn api(cluster: &Cluster, all_namespaces: bool) -> Api<DynamicObject> {
    let (client, resource) = (cluster.client.clone(), ApiResource::erase::<Request>(&()));
    match all_namespaces {
        true => Api::all_with(client, &resource),
        false => Api::namespaced_with(client, &cluster.namespace, &resource),
    }
}

/// The pages of the selected requests.
#[derive(Debug)]
pub struct Requests<'a> {
    filter: &'a Filter,
    pages: Pages<DynamicObject>,
    what: String,
}

impl Requests<'_> {
    /// Returns the next page; `None` after the last one. A page may be empty.
    ///
    /// # Errors
    /// When the API server refuses or does not respond.
    pub async fn next(&mut self) -> Result<Option<Vec<Listed>>, Failure> {
        let page = self.pages.next().await.map_err(|error| Failure::of_api(&error, &self.what))?;
        let taken = |page: Vec<DynamicObject>| page.into_iter().filter(|object| self.filter.takes(object));
        Ok(page.map(|page| taken(page).map(Listed::from).collect()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_may_have_its_type() {
        for (text, wanted) in [
            ("a", Some("a")),
            ("prr/a", Some("a")),
            ("passwordresetrequest.cognito-reset.dev/a.b", Some("a.b")),
            ("pod/a", None),
            ("prr/", None),
            ("", None),
        ] {
            assert_eq!(name(text).ok().as_deref(), wanted, "{text}");
        }
        for text in ["", "..", "a b", "a?dryRun=All", "a%2fb", "A", "prr/", "a/status", "prr/a/status"] {
            assert!(name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ticket_is_compared_as_a_whole() {
        let filter = Filter { ticket: Some("INC-1".to_owned()), ..Filter::default() };
        for (object, wanted) in [
            (json!({ "spec": { "ticket": "INC-1" } }), true),
            (json!({ "spec": { "ticket": "INC-12" } }), false),
            (json!({ "spec": { "ticket": " inc-1" } }), true),
            (json!({ "spec": {} }), false),
        ] {
            let mut object = object;
            object["metadata"] = json!({});
            let object = serde_json::from_value(object).expect("an object");
            assert_eq!(filter.takes(&object), wanted, "{object:?}");
            assert!(Filter::default().takes(&object));
        }
    }

    #[test]
    fn a_filter_is_shown_as_words_and_as_flags() {
        let filter = Filter {
            selector: Some("team in (a,b)".to_owned()),
            pool: Some("p_1".to_owned()),
            ticket: Some("INC 7's".to_owned()),
        };
        assert_eq!(filter.words(), ["labels team in (a,b)", "pool p_1", "ticket INC 7's"]);
        assert_eq!(filter.flags(), [r"--ticket 'INC 7'\''s'", "--pool p_1", "-l 'team in (a,b)'"]);
        assert_eq!(Filter::default().flags(), Vec::<String>::new());
    }
}
