//! An object of the API server, as it was read or is to be written.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use serde::Serialize;

/// A shared object that nobody changes.
///
/// It is cheap to clone, and its hash is computed once, from all of its content: the model checker
/// keeps millions of machines that differ in a few objects.
pub struct Object<T>(Arc<Inner<T>>);

struct Inner<T> {
    value: T,
    digest: OnceLock<u64>,
}

impl<T> From<T> for Object<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(Inner { value, digest: OnceLock::new() }))
    }
}

impl<T> Clone for Object<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Object<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Object<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.value == other.0.value
    }
}

impl<T: Serialize> Hash for Object<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.get_or_init(|| digest(&self.0.value)).hash(state);
    }
}

/// The hash of a value's JSON. What cannot be written as JSON hashes as far as it can: equal values
/// still hash alike.
fn digest(value: &impl Serialize) -> u64 {
    let mut sink = Sink(DefaultHasher::new());
    let complete = serde_json::to_writer(&mut sink, value).is_ok();
    complete.hash(&mut sink.0);
    sink.0.finish()
}

struct Sink(DefaultHasher);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(object: &Object<Vec<&str>>) -> u64 {
        let mut hasher = DefaultHasher::new();
        object.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn equal_objects_hash_alike_and_others_differ() {
        let (one, same, other) = (Object::from(vec!["a", "b"]), Object::from(vec!["a", "b"]), Object::from(vec!["ab"]));
        assert_eq!((&one, hash(&one)), (&same, hash(&same)));
        assert_eq!((one.clone(), hash(&one.clone())), (one.clone(), hash(&one)));
        assert!(one != other && hash(&one) != hash(&other));
        assert_eq!(one.len(), 2);
    }
}
