//! The life of a KEK: states and transitions (NIST SP 800-57 part 1, names as in KMIP), in one table.
//!
//! | state | seals | opens | activate | suspend | resume | deactivate | compromise | destroy |
//! |---|---|---|---|---|---|---|---|---|
//! | pre-active | no | no | active | suspended | – | – | compromised | destroyed |
//! | active | yes | yes | – | suspended | – | deactivated | compromised | – |
//! | deactivated | no | yes | – | suspended | – | – | compromised | destroyed |
//! | compromised | no | yes | – | suspended | – | – | – | destroyed |
//! | suspended | no | no | – | – | what it was | remembered | remembered | destroyed |
//! | destroyed | no | no | – | – | – | – | – | – |
//!
//! `–` is a refusal. A suspended key that is deactivated or marked compromised stays suspended and becomes that when
//! it is resumed: no action on a suspended key but `resume` makes it open anything. An active key is not destroyed in
//! one step, and a key that was retired never seals again.

use std::fmt;

use thiserror::Error;

/// The state of one version of a KEK; its value is the keyring's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyState {
    /// Made, but not used yet: time to renew the backup before anything is sealed with it.
    PreActive = 1,
    /// Seals and opens.
    Active = 2,
    /// Neither seals nor opens until it is resumed.
    Suspended = 3,
    /// Opens only: the state of a version that was rotated away from.
    Deactivated = 4,
    /// Opens only, with a warning: someone else may have it.
    Compromised = 5,
    /// The key bytes are gone; id, dates and check value stay.
    Destroyed = 6,
}

impl KeyState {
    /// All states, in the order of their bytes.
    pub const ALL: [Self; 6] =
        [Self::PreActive, Self::Active, Self::Suspended, Self::Deactivated, Self::Compromised, Self::Destroyed];

    /// The state of a keyring's byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == byte)
    }

    /// Whether new data keys may be wrapped.
    #[must_use]
    pub const fn seals(self) -> bool {
        matches!(self, Self::Active)
    }

    /// Whether existing data keys may be unwrapped.
    #[must_use]
    pub const fn opens(self) -> bool {
        matches!(self, Self::Active | Self::Deactivated | Self::Compromised)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Compromised => "compromised",
            Self::Destroyed => "destroyed",
        })
    }
}

/// What a custodian does to a version of a KEK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Let it seal.
    Activate,
    /// Stop every use for now.
    Suspend,
    /// Undo a suspension.
    Resume,
    /// Let it open only.
    Deactivate,
    /// Record that someone else may have it.
    Compromise,
    /// Erase its bytes.
    Destroy,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 6] =
        [Self::Activate, Self::Suspend, Self::Resume, Self::Deactivate, Self::Compromise, Self::Destroy];
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Activate => "activated",
            Self::Suspend => "suspended",
            Self::Resume => "resumed",
            Self::Deactivate => "deactivated",
            Self::Compromise => "marked compromised",
            Self::Destroy => "destroyed",
        })
    }
}

/// A transition that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key that is {from} cannot be {action}{}", hint(*from, *action))]
pub struct TransitionError {
    /// The state it is in.
    pub from: KeyState,
    /// What was asked.
    pub action: Action,
}

const fn hint(from: KeyState, action: Action) -> &'static str {
    match (from, action) {
        (KeyState::Active, Action::Destroy) => ": deactivate it or mark it compromised first",
        (KeyState::Suspended, Action::Activate) => ": resume it first",
        (KeyState::Deactivated | KeyState::Compromised, Action::Activate) => {
            ": a key that was retired never seals again; rotate"
        }
        _ => "",
    }
}

/// A state together with what a suspended key was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The state.
    pub state: KeyState,
    /// For [`KeyState::Suspended`], and for no other: what it resumes as, never suspended or destroyed.
    pub resumes_as: Option<KeyState>,
}

impl Standing {
    /// A standing in a state that is not [`KeyState::Suspended`].
    #[must_use]
    pub const fn plain(state: KeyState) -> Self {
        Self { state, resumes_as: None }
    }

    /// Whether `resumes_as` is what its state demands.
    #[must_use]
    pub const fn is_consistent(self) -> bool {
        match (self.state, self.resumes_as) {
            (KeyState::Suspended, Some(was)) => !matches!(was, KeyState::Suspended | KeyState::Destroyed),
            (KeyState::Suspended, None) => false,
            (_, was) => was.is_none(),
        }
    }

    /// Whether it seals, or would once it is resumed.
    #[must_use]
    pub const fn is_or_resumes_active(self) -> bool {
        self.state.seals() || matches!(self.resumes_as, Some(KeyState::Active))
    }

    /// The standing after `action`, by the table on this page.
    pub fn after(self, action: Action) -> Result<Self, TransitionError> {
        use KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended};
        let refused = TransitionError { from: self.state, action };
        let suspended_as = |was| Self { state: Suspended, resumes_as: Some(was) };
        Ok(match (self.state, action, self.resumes_as) {
            (PreActive, Action::Activate, _) => Self::plain(Active),
            (Active, Action::Deactivate, _) => Self::plain(Deactivated),
            (PreActive | Active | Deactivated, Action::Compromise, _) => Self::plain(Compromised),
            (PreActive | Active | Deactivated | Compromised, Action::Suspend, _) => suspended_as(self.state),
            (Suspended, Action::Resume, Some(was)) => Self::plain(was),
            (Suspended, Action::Deactivate, Some(Active)) => suspended_as(Deactivated),
            (Suspended, Action::Compromise, Some(PreActive | Active | Deactivated)) => suspended_as(Compromised),
            (PreActive | Deactivated | Compromised | Suspended, Action::Destroy, _) => Self::plain(Destroyed),
            _ => return Err(refused),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_this_and_no_more() {
        use KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended};
        // Columns as in the table: activate, suspend, resume, deactivate, compromise, destroy.
        let table = [
            (PreActive, [Some(Active), Some(Suspended), None, None, Some(Compromised), Some(Destroyed)]),
            (Active, [None, Some(Suspended), None, Some(Deactivated), Some(Compromised), None]),
            (Deactivated, [None, Some(Suspended), None, None, Some(Compromised), Some(Destroyed)]),
            (Compromised, [None, Some(Suspended), None, None, None, Some(Destroyed)]),
            (Destroyed, [None; 6]),
        ];
        for (from, row) in table {
            for (action, expected) in Action::ALL.into_iter().zip(row) {
                let after = Standing::plain(from).after(action);
                assert_eq!(after.ok().map(|s| s.state), expected, "{from} {action}");
                assert!(after.map_or_else(|e| e == TransitionError { from, action }, Standing::is_consistent));
            }
        }
    }

    #[test]
    fn a_suspended_key_remembers_and_opens_nothing_until_resumed() {
        use KeyState::{Active, Compromised, Deactivated, Destroyed, PreActive, Suspended};
        for was in [PreActive, Active, Deactivated, Compromised] {
            let suspended = Standing::plain(was).after(Action::Suspend).unwrap();
            assert_eq!(suspended, Standing { state: Suspended, resumes_as: Some(was) });
            assert!(!suspended.state.opens() && !suspended.state.seals());
            assert_eq!(suspended.after(Action::Resume), Ok(Standing::plain(was)));
            assert_eq!(suspended.after(Action::Destroy), Ok(Standing::plain(Destroyed)));
            assert!(suspended.after(Action::Activate).is_err() && suspended.after(Action::Suspend).is_err());
            let deactivated = suspended.after(Action::Deactivate).ok();
            assert_eq!(deactivated.and_then(|s| s.resumes_as), (was == Active).then_some(Deactivated));
            let compromised = suspended.after(Action::Compromise).ok();
            assert_eq!(compromised.map(|s| s.state), (was != Compromised).then_some(Suspended));
            assert_eq!(compromised.and_then(|s| s.resumes_as), (was != Compromised).then_some(Compromised));
        }
    }

    #[test]
    fn no_path_leads_back_to_sealing_or_out_of_destroyed() {
        for was in [KeyState::Deactivated, KeyState::Compromised, KeyState::Destroyed] {
            let mut reached = vec![Standing::plain(was)];
            let mut next = 0;
            while let Some(standing) = reached.get(next).copied() {
                next += 1;
                assert!(!standing.state.seals());
                assert!(was != KeyState::Destroyed || standing.state == KeyState::Destroyed);
                for action in Action::ALL {
                    if let Ok(after) = standing.after(action)
                        && !reached.contains(&after)
                    {
                        reached.push(after);
                    }
                }
            }
        }
    }

    #[test]
    fn states_are_their_bytes_and_refusals_say_what_to_do() {
        for byte in 0..=255 {
            assert_eq!(KeyState::from_byte(byte).map(|s| s as u8), (1..=6).contains(&byte).then_some(byte));
        }
        let refusal = Standing::plain(KeyState::Active).after(Action::Destroy).unwrap_err().to_string();
        assert_eq!(refusal, "a key that is active cannot be destroyed: deactivate it or mark it compromised first");
    }
}
