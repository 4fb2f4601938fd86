SELECT id FROM layouts WHERE series && $1::int8[]
