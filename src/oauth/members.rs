//! JSON objects as lists of members, none of which stands twice.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The members of a JSON object in the order of the text; `None` for anything else, and where a
/// member stands twice, at any depth.
pub(super) fn read(json: &[u8]) -> Option<Vec<(String, Value)>> {
    // Once for all of it: serde_json would look at each string by itself.
    let text = std::str::from_utf8(json).ok()?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Members).ok()?;
    reader.end().ok()?;
    Some(members)
}

/// Deserializes an object as the list of its members, none of them twice at any depth.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with distinct members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut object = Vec::with_capacity(MEMBERS_MOSTLY);
        while let Some(name) = members.next_key::<String>()? {
            object.push((name, members.next_value_seed(Distinct)?));
        }
        match has_repeats(&object) {
            false => Ok(object),
            true => Err(A::Error::custom("a member stands twice")),
        }
    }
}

/// Each name against those before it while they are few; of many, which a caller may send to keep
/// us busy, the sorted ones side by side.
fn has_repeats(members: &[(String, Value)]) -> bool {
    if members.len() <= COMPARED_EACH_MAX {
        let mut rest = members;
        while let Some(((name, _), before)) = rest.split_last() {
            if before.iter().any(|(other, _)| other == name) {
                return true;
            }
            rest = before;
        }
        return false;
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    !names.is_sorted_by(|a, b| a < b)
}

/// Deserializes a [`Value`] in which no object has a member twice.
struct Distinct;

impl<'de> DeserializeSeed<'de> for Distinct {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Distinct {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON whose objects have distinct members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Distinct)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Distinct)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// Room for the members of most tokens at once.
const MEMBERS_MOSTLY: usize = 12;
/// At most 276 comparisons, most of them of two lengths.
const COMPARED_EACH_MAX: usize = 24;
