//! Lines for a person: the supervisor's own and those of the logs, each after the name it comes from.
//!
//! A closed terminal must not end the shop, so writing never fails.

use std::io::{IsTerminal, Write};

use crate::place::Place;
use crate::plan::Plan;

const OWN_NAME: &str = "shop";
const WIDTH: usize = 16;

/// One line of the supervisor's own.
pub fn say(text: &str) {
    for line in text.lines() {
        line_of(OWN_NAME, line);
    }
}

/// One line of a process.
pub fn line_of(name: &str, line: &str) {
    let prefix = if has_colour() {
        format!("\x1b[{}m{name:>WIDTH$} |\x1b[0m", colour(name))
    } else {
        format!("{name:>WIDTH$} |")
    };
    plain(&format!("{prefix} {line}"));
}

/// Text as it is.
pub fn plain(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn has_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stdout().is_terminal()
}

/// The same colour for the same name, every time.
fn colour(name: &str) -> u32 {
    const COLOURS: [u32; 10] = [31, 32, 33, 34, 35, 36, 92, 93, 94, 96];
    if name == OWN_NAME {
        return 1;
    }
    let sum = name.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    COLOURS[sum as usize % COLOURS.len()]
}

/// The last word: the shop is open, or what it stands without.
pub fn conclude(place: &Place) -> anyhow::Result<()> {
    let held = Plan::load(place)?.held();
    if held.is_empty() {
        return welcome(place);
    }
    for server in held {
        say(&format!("{server} is held stopped by --scale {server}=0; --scale {server}=1 starts it again"));
    }
    Ok(())
}

/// What a person needs to know of an open shop.
fn welcome(place: &Place) -> anyhow::Result<()> {
    let variables = crate::env_file::read(place)?;
    let address = |name: &str| variables.get(name).map_or("", String::as_str);
    let env = crate::place::shown(&place.env_file());
    let elsewhere = place
        .postgres_elsewhere()
        .map_or(String::new(), |path| format!("  databases        {}\n", path.display()));
    let traces = variables.get("TRACES_URL");
    let traces = traces
        .map_or(String::new(), |url| format!("  traces           {url}   (of one order: /trace/TRACE-ID)\n"));
    plain(&format!(
        "\n  The shop is open.\n\n\
         \x20 order-api        {}   (its pages: /docs)\n\
         \x20 kitchen-display  {}\n\
         \x20 card-processor   {}\n\
         \x20 mail             {}\n{traces}{elsewhere}\
         \x20 all addresses    {env}\n\
         \x20 logs             {}\n\n\
         \x20 A first order:\n\n\
         \x20   . {env}\n\
         \x20   curl -s \"$ORDER_API_URL/orders\" -H 'content-type: application/json' \\\n\
         \x20     -d '{{\"customerId\":\"cust-456\",\"items\":[{{\"name\":\"Latte\",\"quantity\":2}}]}}'\n",
        address("ORDER_API_URL"),
        address("KITCHEN_DISPLAY_URL"),
        address("CARD_PROCESSOR_URL"),
        crate::place::shown(&place.mail()),
        crate::place::shown(&place.logs()),
    ));
    Ok(())
}
