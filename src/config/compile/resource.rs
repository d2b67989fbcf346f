//! `[resources.NAME]`: what the metadata of a protected resource says (RFC 9728).

use super::{Tables, access};
use crate::config::Resource;
use crate::config::context::Spot;
use crate::config::problem::Told;
use crate::config::reader::Value;
use crate::config::table::Table;
use crate::config::value::web_page;
use crate::oauth::ResourceIdentifier;
use crate::route::{NormalHost, NormalPath};

/// A resource, and where its identifier stands.
pub(super) struct Draft<'c> {
    pub(super) settings: Resource,
    pub(super) at: Spot<'c>,
}

pub(super) fn read<'c>(name: &str, value: Value<'c>) -> Result<Draft<'c>, Told> {
    value.table(|table| resource(name, table))
}

fn resource<'c>(name: &str, table: &mut Table<'c>) -> Result<Draft<'c>, Told> {
    let identifier = table.must("resource", RESOURCE, |value| {
        let identifier = value.parse(RESOURCE, identifier)?;
        Ok((identifier, value.spot().clone()))
    });
    let title = table.option("title", |value| value.text().map(Box::from));
    let documentation = table.option("documentation", |value| web_page(&value));
    let scopes = table.option("scopes", access::scope_set);
    let ((identifier, at), title) = (identifier?, title?);
    let (documentation, scopes) = (documentation?, scopes?);
    let settings = Resource { name: name.into(), identifier, title, documentation, scopes };
    Ok(Draft { settings, at })
}

/// A request for its metadata must be able to find it.
fn identifier(text: &str) -> Result<ResourceIdentifier, String> {
    let identifier = ResourceIdentifier::parse(text).map_err(|error| error.to_string())?;
    let path = identifier.metadata_path();
    if !NormalPath::parse(&path).is_ok_and(|normal| !normal.is_rewritten()) {
        return Err("its path is not in the normal form that requests are brought into".to_owned());
    }
    NormalHost::parse(identifier.authority()).map_err(|error| error.to_string())?;
    Ok(identifier)
}

/// Two resources whose metadata would lie at the same address.
pub(super) fn check_addresses(resources: &Tables<Draft<'_>>) -> Result<(), Told> {
    let mut outcome = Ok(());
    let mut before: Vec<(String, usize)> = Vec::new();
    for (index, one) in resources.good_ones() {
        let address = one.settings.identifier.metadata_url();
        match before.iter().find(|(other, _)| *other == address) {
            None => before.push((address, index)),
            Some((_, other)) => {
                let what = format!("[resources.{}] has the same address", resources.name(*other));
                outcome = Err(one.at.wrong(what, "one resource is enough for several routes"));
            }
        }
    }
    outcome
}

const RESOURCE: &str = "write resource = \"https://api.example.com/orders\"";
