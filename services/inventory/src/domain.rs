//! What the inventory decides, and nothing else: from an order's reservation, an event about the order and
//! the shelf follow the new reservation and what to tell the others. No decision depends on anything else,
//! so that every duplication and reordering of an order's events can be tried in memory.

use std::collections::BTreeMap;

use events::{Data, OrderCreated, StockRejected, StockReleased, StockReserved};
use serde::{Deserialize, Serialize};

use crate::stock::Shelf;

#[cfg(test)]
mod tests;

/// A reason names at most this many items: it is shown to a customer and bounded on the wire.
const MAX_NAMED: usize = 3;

/// How many pieces of one sku an order holds, all its lines added up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its lines are taken from the stock.
    Reserved,
    /// Something was missing, so nothing was taken.
    Rejected,
    /// Its lines were taken, and are back.
    Released,
    /// Cancelled before we heard of the order: there will be nothing to take.
    Cancelled,
}

impl State {
    const ALL: [State; 4] = [State::Reserved, State::Rejected, State::Released, State::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Reserved => "reserved",
            State::Rejected => "rejected",
            State::Released => "released",
            State::Cancelled => "cancelled",
        }
    }

    pub fn parse(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    pub state: State,
    pub lines: Vec<Line>,
}

impl Reservation {
    fn without_lines(state: State) -> Reservation {
        Reservation { state, lines: Vec::new() }
    }
}

#[derive(Debug, PartialEq)]
pub struct Decision {
    pub reservation: Reservation,
    pub say: Option<Data>,
}

/// `None` when the event changes nothing: it is a duplicate, came too late, or is of no interest.
pub fn apply(current: Option<&Reservation>, event: &Data, shelf: &mut Shelf) -> Option<Decision> {
    match (event, current) {
        (Data::OrderCreated(order), None) => Some(reserve(order, shelf)),
        (Data::OrderCancelled(_), None) => {
            Some(Decision { reservation: Reservation::without_lines(State::Cancelled), say: None })
        }
        (Data::OrderCancelled(order), Some(held)) if held.state == State::Reserved => {
            for line in &held.lines {
                shelf.change(&line.sku, line.quantity);
            }
            let say = StockReleased { order_id: order.order_id.clone() };
            let reservation = Reservation { state: State::Released, lines: held.lines.clone() };
            Some(Decision { reservation, say: Some(say.into()) })
        }
        _ => None,
    }
}

fn reserve(order: &OrderCreated, shelf: &mut Shelf) -> Decision {
    match lines_on_shelf(order, shelf) {
        Ok(lines) => {
            for line in &lines {
                shelf.change(&line.sku, -line.quantity);
            }
            let say = StockReserved { order_id: order.order_id.clone() };
            Decision { reservation: Reservation { state: State::Reserved, lines }, say: Some(say.into()) }
        }
        Err(reason) => {
            let say = StockRejected { order_id: order.order_id.clone(), reason };
            Decision { reservation: Reservation::without_lines(State::Rejected), say: Some(say.into()) }
        }
    }
}

/// What to take, sorted by sku, or why the order cannot be had; the reason is written for the customer.
fn lines_on_shelf(order: &OrderCreated, shelf: &Shelf) -> Result<Vec<Line>, String> {
    let mut wanted = BTreeMap::<&str, i64>::new();
    let mut unknown = Vec::new();
    for item in &order.items {
        match shelf.find(item) {
            Some(article) => *wanted.entry(&article.sku).or_default() += i64::from(item.quantity),
            None => unknown.push(item.name.as_str()),
        }
    }
    if !unknown.is_empty() {
        return Err(format!("we do not sell {}", enumerate(unknown)));
    }
    let missing: Vec<&str> = wanted
        .iter()
        .filter_map(|(sku, quantity)| shelf.get(sku).filter(|article| article.available < *quantity))
        .map(|article| article.name.as_str())
        .collect();
    if !missing.is_empty() {
        return Err(format!("out of stock: {}", enumerate(missing)));
    }
    Ok(wanted.into_iter().map(|(sku, quantity)| Line { sku: sku.to_owned(), quantity }).collect())
}

/// `Latte, Mocha, Espresso and 2 more`
fn enumerate(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
