//! A customer's points over HTTP.

use serde_json::{Value, json};
use testing::{STAFF_TOKEN, World};

use crate::support::{cancelled, created, loyalty};

#[tokio::test]
async fn staff_see_a_customers_points_and_last_awards() {
    let world = World::start().await;
    let loyalty = loyalty(&world).await;
    world.publish_event(&created("o-1", "cust-1", 900)).await;
    world.publish_event(&created("o-2", "cust-1", 450)).await;
    world.publish_event(&cancelled("o-1", "cust-1")).await;
    world.settle(&loyalty).await;

    let http = reqwest::Client::new();
    let get = |id: &str| http.get(format!("{}/customers/{id}", loyalty.url()));
    assert_eq!(get("cust-1").send().await.unwrap().status(), 401);

    let answer = get("cust-1").bearer_auth(STAFF_TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let customer: Value = answer.json().await.unwrap();
    assert_eq!((&customer["customerId"], &customer["points"]), (&json!("cust-1"), &json!(4)));
    let mut awards: Vec<_> = customer["lastAwards"]
        .as_array()
        .unwrap()
        .iter()
        .map(|award| format!("{} {} {}", award["orderId"], award["points"], award["state"]))
        .collect();
    awards.sort();
    assert_eq!(awards, [r#""o-1" 9 "taken_back""#, r#""o-2" 4 "awarded""#]);
}

#[tokio::test]
async fn an_unknown_customer_is_a_problem_that_says_so() {
    let world = World::start().await;
    let loyalty = loyalty(&world).await;
    let http = reqwest::Client::new();
    for (id, status) in [("nobody", 404), ("a%00b", 422), ("a%FFb", 400)] {
        let request = http.get(format!("{}/customers/{id}", loyalty.url())).bearer_auth(STAFF_TOKEN);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{id}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
}
