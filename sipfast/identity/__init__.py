"""Who a request is from: users, their passwords by digest, and what is believed of what a request says of itself."""
