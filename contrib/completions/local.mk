# Completions, under the names by which the shells look for them.
dist_bashcompletion_DATA = contrib/completions/migctl
zshcompletiondir = $(datadir)/zsh/site-functions
dist_zshcompletion_DATA = contrib/completions/_migctl
fishcompletiondir = $(datadir)/fish/vendor_completions.d
dist_fishcompletion_DATA = contrib/completions/migctl.fish
