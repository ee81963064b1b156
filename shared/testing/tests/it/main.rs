//! The shape of the workspace: services → service → messaging → events; never back, never sideways.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::process::Command;

/// Which of our crates each layer may use, besides `testing` in tests.
fn allowed(layer: &str, name: &str) -> &'static [&'static str] {
    match (layer, name) {
        ("shared", "events") => &[],
        ("shared", "messaging") => &["events"],
        ("shared", "service") => &["events", "messaging"],
        ("shared", "testing") => &["events", "messaging"],
        ("services", _) => &["events", "messaging", "service"],
        ("tools", _) => &["events", "messaging"],
        // A folder of the project itself: its layer is whatever the checkout is called.
        (_, "loadtest") => &["events", "messaging"],
        _ => panic!("{layer}/{name} is in no layer: add the layer here on purpose"),
    }
}

#[test]
fn every_crate_depends_only_on_the_layers_below_it() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let layer_of: HashMap<&str, &str> = packages
        .iter()
        .map(|package| {
            let folder: Vec<&str> = package["manifest_path"].as_str().unwrap().rsplit('/').collect();
            (package["name"].as_str().unwrap(), folder[2])
        })
        .collect();
    assert!(layer_of.len() >= 14, "the workspace has all its crates");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let for_tests = dependency["kind"] == "dev" && on == "testing";
            if layer_of.contains_key(on) && !for_tests {
                let layer = layer_of[name];
                assert!(allowed(layer, name).contains(&on), "{layer}/{name} must not depend on {on}");
            }
        }
    }
}
