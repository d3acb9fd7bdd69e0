"""Images in: named sets, folders, archives and arrays become one `ImageSet`."""
