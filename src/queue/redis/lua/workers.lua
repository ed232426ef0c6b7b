-- Workers that live, each with the time when it said so.

local found = { 'ok' }
local seen = redis.call('ZRANGEBYSCORE', P .. 'seen', now - S.worker_gone + 1, '+inf', 'WITHSCORES')
for i = 1, #seen, 2 do
  found[#found + 1] = { redis.call('HGET', P .. 'workers', seen[i]), seen[i + 1] }
end
return found
