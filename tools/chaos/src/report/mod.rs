//! What a run leaves behind: a table for the terminal and a page with its timeline.

/// One fault as it was applied. Times are seconds since the run began.
#[derive(Clone, Debug, serde::Serialize)]
pub struct FaultRecord {
    pub name: String,
    pub target: String,
    pub started: f64,
    pub healed: f64,
    /// Until the shop was quiet again; unknown if it was not waited for.
    pub quiet_after: Option<f64>,
}
