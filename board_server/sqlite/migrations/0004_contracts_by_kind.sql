-- With this index, a condition of WaitFor on the kind alone does not read the whole table.
CREATE INDEX contracts_by_kind ON contracts (kind);
