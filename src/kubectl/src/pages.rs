//! Lists, page by page.

use std::fmt::Debug;

use kube::{Api, api::ListParams};
use serde::de::DeserializeOwned;

/// The number of objects of one page of a list.
pub const PAGE: u32 = 500;

/// The pages of a list, one after the other as they are asked for.
#[derive(Debug)]
pub struct Pages<K> {
    api: Api<K>,
    params: Option<ListParams>,
}

impl<K: Clone + DeserializeOwned + Debug> Pages<K> {
    /// Begins a list of the objects that these selectors of fields and labels select.
    #[must_use]
    pub fn new(api: Api<K>, fields: &[String], labels: Option<&str>) -> Self {
        let mut params = ListParams::default().limit(PAGE);
        params.field_selector = (!fields.is_empty()).then(|| fields.join(","));
        params.label_selector = labels.map(str::to_owned);
        Self { api, params: Some(params) }
    }

    /// Returns the objects of the next page; `None` after the last one. A page may be empty.
    ///
    /// # Errors
    /// When the API server refuses or does not respond.
    pub async fn next(&mut self) -> kube::Result<Option<Vec<K>>> {
        let Some(params) = self.params.take() else { return Ok(None) };
        let page = self.api.list(&params).await?;
        let token = page.metadata.continue_.filter(|token| !token.is_empty());
        self.params = token.map(|token| ListParams { continue_token: Some(token), ..params });
        Ok(Some(page.items))
    }

    /// Returns the objects of all pages that a function takes.
    ///
    /// # Errors
    /// When the API server refuses or does not respond.
    pub async fn all(mut self, takes: impl Fn(&K) -> bool) -> kube::Result<Vec<K>> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await? {
            all.extend(page.into_iter().filter(&takes));
        }
        Ok(all)
    }
}

/// Returns a selector of a field. A value may contain the characters that separate selectors.
#[must_use]
pub fn field(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
    format!("{name}={value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_selector() {
        assert_eq!(field("spec.username", r"a,b=c\d"), r"spec.username=a\,b\=c\\d");
    }
}
