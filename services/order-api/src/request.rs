//! Reads an order at the edge: bytes become a valid [`Request`] or the list of everything that is wrong with
//! them. It walks untyped JSON, because a typed parser stops at the first mistake and the caller should
//! learn of all at once.

use axum::http::{HeaderMap, StatusCode};
use events::{Cents, CustomerId, Item};
use serde::Deserialize;
use serde_json::{Map, Value};
use service::Problem;
use service::problem::FieldError;

use crate::email;
use crate::menu::{self, MenuItem};

const MAX_LINES: usize = 50;
const MAX_QUANTITY: u64 = 100;
const MAX_CUSTOMER_CHARS: usize = 64;
/// In bytes, as the events carry it.
const MAX_CUSTOMER_BYTES: usize = 128;

/// A valid order, in the one form that all ways of writing it come to: it is what idempotency compares.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub customer: CustomerId,
    pub email: Option<String>,
    pub items: Vec<Item>,
}

impl Request {
    pub fn total(&self) -> Cents {
        self.items.iter().map(|item| item.price * item.quantity).sum()
    }

    /// 415 for another content type, 400 for what is not JSON, 422 for JSON that is not an order.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Request, Problem> {
        service::require_json(headers)?;
        let json = serde_json::from_slice(body).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("the body is not valid JSON: {error}"))
        })?;
        read(&json).map_err(|errors| {
            Problem::unprocessable("this is not an order we can take; see the errors, and GET /menu")
                .with_errors(errors)
        })
    }
}

fn read(json: &Value) -> Result<Request, Vec<FieldError>> {
    let mut mistakes = Mistakes::default();
    let Some(order) = json.as_object() else {
        mistakes.add("", format!("is {}, an object with customerId and items is expected", kind(json)));
        return Err(mistakes.0);
    };
    let customer = read_customer(order, &mut mistakes);
    let email = read_email(order, &mut mistakes);
    let items = read_items(order, &mut mistakes);
    match (customer, mistakes.0) {
        (Some(customer), errors) if errors.is_empty() => Ok(Request { customer, email, items }),
        (_, errors) => Err(errors),
    }
}

fn read_customer(order: &Map<String, Value>, mistakes: &mut Mistakes) -> Option<CustomerId> {
    let pointer = "/customerId";
    let Some(text) = mistakes.text(pointer, order.get("customerId")) else {
        if present(order.get("customerId")).is_none() {
            mistakes.add(pointer, "is missing: who is ordering?");
        }
        return None;
    };
    let problem = if text.chars().any(char::is_control) {
        "contains a control character".to_owned()
    } else if text.trim().is_empty() {
        format!("is empty, 1 to {MAX_CUSTOMER_CHARS} characters are allowed")
    } else if text.chars().count() > MAX_CUSTOMER_CHARS || text.len() > MAX_CUSTOMER_BYTES {
        let (chars, bytes) = (text.chars().count(), text.len());
        format!(
            "has {chars} characters ({bytes} bytes), at most {MAX_CUSTOMER_CHARS} ({MAX_CUSTOMER_BYTES} \
             bytes) are allowed"
        )
    } else {
        match CustomerId::try_from(text.to_owned()) {
            Ok(customer) => return Some(customer),
            Err(problem) => problem,
        }
    };
    mistakes.add(pointer, problem);
    None
}

fn read_email(order: &Map<String, Value>, mistakes: &mut Mistakes) -> Option<String> {
    let text = mistakes.text("/email", order.get("email"))?;
    match email::check(text) {
        Ok(()) => return Some(text.to_owned()),
        Err(problem) => mistakes.add("/email", problem),
    }
    None
}

fn read_items(order: &Map<String, Value>, mistakes: &mut Mistakes) -> Vec<Item> {
    let pointer = "/items";
    match present(order.get("items")) {
        None => mistakes.add(pointer, "is missing: a list of {name or sku, quantity} is expected"),
        Some(Value::Array(lines)) if (1..=MAX_LINES).contains(&lines.len()) => {
            let read = |(n, line)| read_line(&format!("/items/{n}"), line, mistakes);
            return lines.iter().enumerate().filter_map(read).collect();
        }
        Some(Value::Array(lines)) => {
            mistakes.add(pointer, format!("has {} lines, 1 to {MAX_LINES} are allowed", lines.len()));
        }
        Some(other) => mistakes.add(pointer, format!("is {}, a list is expected", kind(other))),
    }
    Vec::new()
}

fn read_line(pointer: &str, line: &Value, mistakes: &mut Mistakes) -> Option<Item> {
    let Some(line) = line.as_object() else {
        mistakes.add(pointer, format!("is {}, {{name or sku, quantity}} is expected", kind(line)));
        return None;
    };
    let item = read_menu_item(pointer, line, mistakes);
    let quantity = read_quantity(&format!("{pointer}/quantity"), line.get("quantity"), mistakes);
    if let (Some(item), Some(price)) = (item, present(line.get("price"))) {
        check_price(&format!("{pointer}/price"), item, price, mistakes);
    }
    let (item, quantity) = (item?, quantity?);
    Some(Item { name: item.name.to_owned(), sku: Some(item.sku.to_owned()), price: item.price, quantity })
}

/// By name, by sku, or by both if they agree.
fn read_menu_item(
    pointer: &str,
    line: &Map<String, Value>,
    mistakes: &mut Mistakes,
) -> Option<&'static MenuItem> {
    if present(line.get("name")).is_none() && present(line.get("sku")).is_none() {
        mistakes.add(pointer, "has neither name nor sku: what is it?");
        return None;
    }
    let (name_pointer, sku_pointer) = (format!("{pointer}/name"), format!("{pointer}/sku"));
    let name = mistakes.text(&name_pointer, line.get("name"));
    let sku = mistakes.text(&sku_pointer, line.get("sku"));
    let named = name.and_then(|name| mistakes.known(&name_pointer, name, menu::by_name(name)));
    let coded = sku.and_then(|sku| mistakes.known(&sku_pointer, sku, menu::by_sku(sku)));
    if let (Some(named), Some(coded)) = (named, coded)
        && named != coded
    {
        mistakes.add(&sku_pointer, format!("belongs to {}, but the name is {}", coded.name, named.name));
    }
    named.or(coded)
}

fn read_quantity(pointer: &str, value: Option<&Value>, mistakes: &mut Mistakes) -> Option<u32> {
    let Some(value) = present(value) else { return Some(1) };
    match value.as_u64() {
        Some(quantity @ 1..=MAX_QUANTITY) => return u32::try_from(quantity).ok(),
        _ => mistakes.add(
            pointer,
            format!("is {}, a whole number from 1 to {MAX_QUANTITY} is expected", shown(value)),
        ),
    }
    None
}

fn check_price(pointer: &str, item: &MenuItem, sent: &Value, mistakes: &mut Mistakes) {
    if Cents::deserialize(sent).ok() != Some(item.price) {
        let (name, price) = (item.name, item.price);
        mistakes.add(pointer, format!("is {}, but {name} costs {price}; leave it out", shown(sent)));
    }
}

/// JSON `null` says the same as leaving the field out.
fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Numbers as they were sent; of anything else only the kind, because it may be long.
fn shown(value: &Value) -> String {
    value.as_number().map_or_else(|| kind(value).to_owned(), ToString::to_string)
}

#[derive(Default)]
struct Mistakes(Vec<FieldError>);

impl Mistakes {
    fn add(&mut self, pointer: &str, detail: impl Into<String>) {
        self.0.push(FieldError { pointer: pointer.to_owned(), detail: detail.into() });
    }

    fn text<'a>(&mut self, pointer: &str, value: Option<&'a Value>) -> Option<&'a str> {
        let value = present(value)?;
        if value.as_str().is_none() {
            self.add(pointer, format!("is {}, a text is expected", kind(value)));
        }
        value.as_str()
    }

    fn known(
        &mut self,
        pointer: &str,
        sent: &str,
        found: Option<&'static MenuItem>,
    ) -> Option<&'static MenuItem> {
        if found.is_none() {
            let sent: String = sent.chars().take(40).collect();
            self.add(pointer, format!("{sent:?} is not on the menu; see GET /menu"));
        }
        found
    }
}

#[cfg(test)]
mod tests;
