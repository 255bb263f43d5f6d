-- Which type needs which. A table stands in here as its row type, and needs the types of its columns and those that
-- its defaults, constraints and indexes mention. Types of the system itself are not recorded by the server.
SELECT DISTINCT edge.type, edge.needs
FROM (
      -- Domains, ranges, multiranges and arrays.
      SELECT d.objid AS type, d.refobjid AS needs
      FROM pg_depend AS d
      WHERE d.classid = 'pg_type'::regclass AND d.refclassid = 'pg_type'::regclass
      UNION ALL
      -- Columns and attributes.
      SELECT c.reltype, d.refobjid
      FROM pg_depend AS d
           JOIN pg_class AS c
             ON c.oid = d.objid
      WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_type'::regclass AND c.reltype <> 0
      UNION ALL
      -- Expressions of indexes.
      SELECT c.reltype, d.refobjid
      FROM pg_depend AS d
           JOIN pg_index AS i
             ON i.indexrelid = d.objid
           JOIN pg_class AS c
             ON c.oid = i.indrelid
      WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_type'::regclass
      UNION ALL
      -- Defaults and generated columns.
      SELECT c.reltype, d.refobjid
      FROM pg_depend AS d
           JOIN pg_attrdef AS a
             ON a.oid = d.objid
           JOIN pg_class AS c
             ON c.oid = a.adrelid
      WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_type'::regclass
      UNION ALL
      -- Constraints of tables and of domains.
      SELECT CASE WHEN con.contypid <> 0 THEN con.contypid ELSE c.reltype END, d.refobjid
      FROM pg_depend AS d
           JOIN pg_constraint AS con
             ON con.oid = d.objid
           LEFT JOIN pg_class AS c
                  ON c.oid = con.conrelid
      WHERE d.classid = 'pg_constraint'::regclass AND d.refclassid = 'pg_type'::regclass
     ) AS edge
WHERE edge.type IS NOT NULL
  AND edge.type <> edge.needs
ORDER BY edge.type, edge.needs;
