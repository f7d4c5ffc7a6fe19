//! Values that many objects have in common.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that is held once however many objects have it: the pods of a workload differ in little, and a large cluster has
/// a hundred thousand of them. It reads, compares and is written as the value itself.
#[derive(Default)]
pub struct Shared<T>(Arc<T>);

impl<T: PartialEq> Shared<T> {
    /// This value, held together with `other` if both are equal.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        if self == *other { other.clone() } else { self }
    }
}

impl<T: Clone> Shared<T> {
    /// The value, for a change that the other holders do not see.
    pub fn to_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || *self.0 == *other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_held_once_and_a_change_is_ones_own() {
        let first = Shared::from(vec![1, 2]);
        let second = Shared::from(vec![1, 2]).with(&first);
        assert!(Arc::ptr_eq(&first.0, &second.0));
        let mut third = second.clone();
        third.to_mut().push(3);
        assert_eq!((first.len(), second.len(), third.len()), (2, 2, 3));
        assert!(!Arc::ptr_eq(&Shared::from(vec![4]).with(&first).0, &first.0));
    }

    #[test]
    fn it_is_written_and_read_as_the_value() {
        let shared = Shared::from(vec![1, 2]);
        assert_eq!(serde_json::to_string(&shared).unwrap(), "[1,2]");
        assert_eq!(serde_json::from_str::<Shared<Vec<i32>>>("[1,2]").unwrap(), shared);
    }
}
