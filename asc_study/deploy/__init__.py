"""From trained runs to one deployable system: quantised networks (`quantise`), bundles (`bundle`), their `runtime`."""
