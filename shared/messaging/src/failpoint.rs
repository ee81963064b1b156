//! Places where the chaos suite can make a process die, and rules it can make the runtime break, to find out
//! whether that is noticed. Compiled only with the feature `failpoints`; without it these are empty.

/// The process ends here, as by kill -9, if the suite has armed this place.
#[inline(always)]
pub fn dies_at(place: &str) {
    if is_set(place) {
        std::process::abort();
    }
}

/// Whether the suite asks for a deliberately broken runtime: `mutation-no-inbox` and its like.
#[inline(always)]
pub fn is_set(_name: &str) -> bool {
    #[cfg(feature = "failpoints")]
    fail::fail_point!(_name, |_| true);
    false
}

#[cfg(feature = "failpoints")]
mod armed {
    /// An event with such an id kills whoever handles it.
    const POISON: &str = "kills-its-process";

    /// Reads the variable `FAILPOINTS`: `name=action;name=action`, with the actions of the `fail` crate.
    pub fn from_env() {
        std::mem::forget(fail::FailScenario::setup());
    }

    /// `return` sets it, `3*off->return` from the fourth time on, `off` no more.
    pub fn set(name: &str, action: &str) -> Result<(), String> {
        fail::cfg(name, action)
    }

    pub fn dies_of(event_id: &str) {
        if event_id.starts_with(POISON) {
            std::process::abort();
        }
    }
}

#[cfg(feature = "failpoints")]
pub use armed::{dies_of, from_env, set};

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn dies_of(_event_id: &str) {}
