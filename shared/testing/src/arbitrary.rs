//! Messages as nobody would send them: random bytes, and events that look right and are not quite, with
//! numbers at their limits, huge strings, unknown and doubled fields. Written as text, because what a
//! program can build is already half way to being valid; boxed, because the types would fill a stack.

use async_nats::{HeaderMap, HeaderValue};
use events::{Event, EventType};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The body of a message: often a valid event, often nearly one, sometimes noise.
pub fn body() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (envelope(), any::<Index>(), any::<u8>()).prop_map(|(text, index, byte)| {
        let mut bytes = text.into_bytes();
        let at = index.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    let cut = (envelope(), any::<Index>())
        .prop_map(|(text, index)| text.as_bytes()[..index.index(text.len())].to_vec());
    prop_oneof![
        1 => vec(any::<u8>(), 0..300),
        1 => cut,
        2 => damaged,
        6 => envelope().prop_map(String::into_bytes),
    ]
}

/// A valid event, though hardly a sensible one. Few orders, so that their events meet.
pub fn event() -> impl Strategy<Value = Event> {
    envelope().prop_filter_map("not a valid event", |text| Event::decode(text.as_bytes()).ok())
}

/// Headers that a client can send, with and without sense.
pub fn headers() -> impl Strategy<Value = HeaderMap> {
    let name = select(&[
        "ce-specversion",
        "ce-id",
        "ce-type",
        "traceparent",
        "tracestate",
        "Dead-Letter-Reason",
        "Original-Nats-Msg-Id",
        "X-Unheard-Of",
    ]);
    let value = prop_oneof![
        2 => Just("1.0".to_owned()),
        1 => Just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        1 => "00-[0-9a-f]{32}-[0-9a-f]{16}-0[01é]",
        2 => "[ -~é☕]{0,60}",
        1 => "[a-z]{1000,3000}",
    ];
    vec((name, value), 0..4).prop_map(|pairs| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse::<HeaderValue>().unwrap());
        }
        headers
    })
}

/// `{"eventType":…}` with every field an event of any type can have.
fn envelope() -> BoxedStrategy<String> {
    let types: Vec<String> = EventType::ALL.iter().map(|known| format!("\"{}\"", known.as_str())).collect();
    let fields = (
        field("eventType", 0, select(types)),
        field("eventId", 3, "\"e-[0-9a-f]{1,12}\"".boxed()),
        field("timestamp", 0, timestamp()),
        field("sequence", 3, select(&["0", "1", "7", "9223372036854775808", "18446744073709551615"])),
        field("data", 0, data()),
        extras(),
    );
    fields
        .prop_map(|(a, b, c, d, e, extras)| object([a, b, c, d, e].into_iter().flatten().chain(extras)))
        .boxed()
}

fn data() -> BoxedStrategy<String> {
    let long = format!("\"{}\"", "x".repeat(128));
    let order =
        select(vec!["\"order-1\"".to_owned(), "\"order-2\"".to_owned(), "\"ordre-é☕\"".to_owned(), long]);
    let amount = || select(&["0", "0.01", "4.50", "9.00", "1e7", "10000000.00"]);
    let reason = || select(&["\"no funds\"", "\"<script>&amp;\"", "\"☕\""]);
    let email = select(&["\"a@example.com\"", "\"not an address\"", "\"ann@exämple.com\""]);
    let fields = (
        field("orderId", 0, order),
        field("customerId", 0, select(&["\"cust-1\"", "\"Ann O'Hara\"", "\"é @ ☕\""])),
        field("email", 3, email),
        field("items", 0, vec(item(), 1..4).prop_map(|items| format!("[{}]", items.join(",")))),
        field("total", 0, amount()),
        field("amount", 0, amount()),
        field("chargeId", 0, select(&["\"ch-1\"", "\"ch-2\""])),
        field("reason", 0, reason()),
        extras(),
    );
    fields
        .prop_map(|(a, b, c, d, e, f, g, h, extras)| {
            object([a, b, c, d, e, f, g, h].into_iter().flatten().chain(extras))
        })
        .boxed()
}

fn item() -> BoxedStrategy<String> {
    let fields = (
        field("name", 0, select(&["\"Latte\"", "\"LATTE\"", "\"ß İ ☕\"", "\"Tea\""])),
        field("sku", 5, select(&["\"latte\"", "\"nothing\""])),
        field("price", 0, select(&["0", "4.50", "10000000.00"])),
        field("quantity", 3, select(&["1", "2", "10000"])),
    );
    fields.prop_map(|(a, b, c, d)| object([a, b, c, d].into_iter().flatten())).boxed()
}

fn timestamp() -> impl Strategy<Value = &'static str> {
    select(&[
        "\"2024-03-15T10:30:00Z\"",
        "\"2024-03-15T10:30:00.123456789+02:00\"",
        "\"1970-01-01T00:00:00Z\"",
        "\"2016-12-31T23:59:60Z\"",
        "\"0000-01-01T00:00:00+23:59\"",
        "\"9999-12-31T23:59:59.999999999Z\"",
        "\"9999-12-31T23:59:59-23:59\"",
    ])
}

type Field = Option<(String, String)>;

/// Mostly there and plausible; left out `absent` times of forty, and strange now and then.
fn field(
    name: &'static str,
    absent: u32,
    plausible: impl Strategy<Value = impl ToString + std::fmt::Debug + 'static> + 'static,
) -> BoxedStrategy<Field> {
    let some = move |value: String| Some((name.to_owned(), value));
    prop_oneof![
        (39 - absent) => plausible.prop_map(move |value| some(value.to_string())),
        absent.max(1) => Just(None),
        1 => strange().prop_map(some),
    ]
    .boxed()
}

/// Fields nobody asked for, and fields that are there already.
fn extras() -> BoxedStrategy<Vec<(String, String)>> {
    let name = select(&["loyaltyCard", "", "é", "data", "orderId", "eventType", "sequence", "\\u0000"]);
    let extra = (name, strange()).prop_map(|(name, value)| (name.to_owned(), value));
    prop_oneof![6 => Just(Vec::new()), 1 => vec(extra, 1..3)].boxed()
}

/// JSON where something else is expected.
fn strange() -> BoxedStrategy<String> {
    let fixed = select(&[
        "null",
        "true",
        "{}",
        "[]",
        "[[[]]]",
        "\"\"",
        "-0.0",
        "-1",
        "0.005",
        "1e400",
        "1e-400",
        "10000000.01",
        "4294967296",
        "18446744073709551616",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"line\\r\\nbreak\"",
        "\"4.50\"",
        "\"-0001-01-01T00:00:00Z\"",
    ]);
    let huge = select(&[129_usize, 201, 70_000, 270_000]);
    prop_oneof![
        8 => fixed.prop_map(str::to_owned),
        1 => huge.prop_map(|length| format!("\"{}\"", "x".repeat(length))),
        1 => (1..300_usize).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
        1 => any::<f64>().prop_map(|number| number.to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ]
    .boxed()
}

fn object(fields: impl Iterator<Item = (String, String)>) -> String {
    let fields: Vec<String> = fields.map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}
