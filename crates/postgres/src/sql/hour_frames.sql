-- What an hour holds, by target and layout; the last column tells whether frames came or went since.
SELECT target_id, layout, count(*), bit_xor(seq)
FROM frames
WHERE time >= $1 AND time < $2
GROUP BY target_id, layout
