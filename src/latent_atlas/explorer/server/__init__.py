"""The explorer's server: `app.make_app(atlas)` serves the page and answers its requests."""
