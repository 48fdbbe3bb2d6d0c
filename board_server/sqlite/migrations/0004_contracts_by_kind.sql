-- WaitFor may ask for a contract of a kind alone: found, or found missing, without reading
-- the whole table.
CREATE INDEX contracts_by_kind ON contracts (kind);
