//! The shelf: the locked stock rows of one batch, as the decisions see and change them. What is taken here
//! was counted first, so no amount can fall below zero.

use std::collections::{BTreeMap, HashMap};

use events::Item;

/// A piece of the menu and how many of it can still be promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    pub sku: String,
    pub name: String,
    pub available: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    articles: BTreeMap<String, Article>,
    skus_by_name: HashMap<String, String>,
    /// What there was before, of each sku that changed.
    touched: BTreeMap<String, i64>,
}

impl FromIterator<Article> for Shelf {
    fn from_iter<I: IntoIterator<Item = Article>>(articles: I) -> Shelf {
        let mut shelf = Shelf::default();
        for article in articles {
            shelf.skus_by_name.insert(article.name.to_lowercase(), article.sku.clone());
            shelf.articles.insert(article.sku.clone(), article);
        }
        shelf
    }
}

impl Shelf {
    /// The article a line means: by its sku or, failing that, by its name in any case.
    pub fn find(&self, item: &Item) -> Option<&Article> {
        let by_sku = item.sku.as_ref().and_then(|sku| self.articles.get(sku));
        by_sku.or_else(|| self.articles.get(self.skus_by_name.get(&item.name.to_lowercase())?))
    }

    pub fn get(&self, sku: &str) -> Option<&Article> {
        self.articles.get(sku)
    }

    /// Adds to what is available; a negative change takes away.
    pub fn change(&mut self, sku: &str, by: i64) {
        if let Some(article) = self.articles.get_mut(sku) {
            self.touched.entry(sku.to_owned()).or_insert(article.available);
            article.available += by;
        }
    }

    /// The articles whose amount is not what it was.
    pub fn changed(&self) -> impl Iterator<Item = &Article> {
        self.touched
            .iter()
            .filter_map(|(sku, before)| self.articles.get(sku).filter(|article| article.available != *before))
    }
}
