-- For the list of orders with one status, of which there may be few among millions. Those that are received have
-- orders_unsettled, so taking an order costs no more than before.
create index orders_by_status on orders (status, order_id) where status <> 'received';
