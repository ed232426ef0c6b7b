-- Keeps what a running job does. ARGV: id, worker, delivery, and for each event its kind, time and text.

local j = owned(ARGV[1], ARGV[2], ARGV[3])
if not j then return { 'lost' } end
for i = 4, #ARGV, 3 do told(j.id, ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return answer({ 'ok' })
