-- What the shop has, and what it has promised to whom.
-- Always true: stock.available = stock.initial - the lines of the reservations in state 'reserved'.

create table stock (
    sku text primary key,
    name text not null,
    initial bigint not null,
    available bigint not null check (available >= 0)
);
-- A line without a known sku is found by its name.
create unique index stock_by_name on stock (lower(name));

create table reservations (
    order_id text primary key,
    -- 'new' is seen only by the transaction that inserts the row; 'cancelled' came before the order itself.
    state text not null check (state in ('new', 'reserved', 'rejected', 'released', 'cancelled')),
    -- [{"sku", "quantity"}]: what was taken from the stock, one entry for each sku.
    lines jsonb not null default '[]'
);

insert into stock (sku, name, initial, available)
select sku, name, 1000000, 1000000
from (values
    ('espresso', 'Espresso'),
    ('americano', 'Americano'),
    ('latte', 'Latte'),
    ('cappuccino', 'Cappuccino'),
    ('flat-white', 'Flat White'),
    ('mocha', 'Mocha'),
    ('cold-brew', 'Cold Brew'),
    ('chai-latte', 'Chai Latte'),
    ('croissant', 'Croissant'),
    ('blueberry-muffin', 'Blueberry Muffin')
) as menu (sku, name);
