-- Hands a job back unfinished; the attempt is not counted. ARGV: id, worker, delivery.

local j = owned(ARGV[1], ARGV[2], ARGV[3])
if not j then return { 'lost' } end
j.attempts = j.attempts - 1
put_back(j)
return answer({ 'ok' })
