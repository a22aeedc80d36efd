"""What a search is for: budgets and objectives, the costs behind them, and which networks meet them best."""
