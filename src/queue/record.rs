//! What a queue keeps beside jobs: small texts with names. Knows nothing of what they say.

use serde::{Deserialize, Serialize};

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordKind {
    /// A script of the library, in one version.
    Script,
    /// A schedule.
    Schedule,
}

impl RecordKind {
    /// Its name, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Schedule => "schedule",
        }
    }
}

/// A text with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it is about.
    pub kind: RecordKind,
    /// Whose it is.
    pub tenant: String,
    /// Its name among those of its kind and tenant.
    pub name: String,
    /// What it says, as JSON.
    pub body: String,
}
