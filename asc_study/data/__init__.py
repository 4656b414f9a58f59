"""Reading data sets: what each is (`formats`), its lists (`layout`), the clip table, its cut, check and identity."""
