//! The parts of the OpenAPI page that belong to no single route.

use serde::Serialize;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "The coffee shop: orders",
        description = "Place an order and follow it. An order is taken as soon as it is safely stored; payment, \
                       stock and kitchen do their part afterwards. Errors are RFC 9457 problem details."
    ),
    tags(
        (name = "menu", description = "What there is"),
        (name = "orders", description = "Placing and following an order. Its id cannot be guessed: whoever has it may see the order"),
        (name = "staff", description = "For the people behind the counter")
    ),
    modifiers(&StaffScheme)
)]
pub struct Page;

struct StaffScheme;

impl Modify for StaffScheme {
    fn modify(&self, page: &mut utoipa::openapi::OpenApi) {
        let scheme =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The staff token")).build();
        page.components.get_or_insert_default().add_security_scheme("staff", SecurityScheme::Http(scheme));
    }
}

/// RFC 9457 problem details
#[derive(Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: String,
    #[schema(example = "Unprocessable Entity")]
    title: String,
    #[schema(example = 422)]
    status: u16,
    /// What is wrong with this very request, and how to mend it.
    detail: String,
    /// Every field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

#[derive(Serialize, ToSchema)]
pub struct FieldError {
    /// JSON Pointer (RFC 6901) to the value.
    #[schema(example = "/items/0/quantity")]
    pointer: String,
    #[schema(example = "is 0, a whole number from 1 to 100 is expected")]
    detail: String,
}
