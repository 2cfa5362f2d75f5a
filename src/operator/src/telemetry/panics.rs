//! Logs a panic as one line.

use std::any::Any;

use tracing::error;

/// Logs every panic of the process as one line, in the format of the log.
///
/// A text that was built at run time may quote any value, including a user's name, and is left out.
/// A constant text is logged.
pub(crate) fn log_them() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(%place, text = fixed_text(panic.payload()), "caught a panic");
    }));
}

fn fixed_text(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(built at run time, so not shown)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_from_the_code_is_shown() {
        let fixed: Box<dyn Any + Send> = Box::new("not valid");
        let made: Box<dyn Any + Send> = Box::new("alice is not valid".to_owned());
        assert_eq!(fixed_text(&*fixed), "not valid");
        assert!(!fixed_text(&*made).contains("alice"));
    }
}
