-- A node ends. ARGV: the node. Its names stay with those who were in its rooms, who need not wait for the lease to lapse.
local own = 'bt:n:' .. ARGV[1]
if redis.call('EXISTS', own) == 1 then
  redis.call('HSET', own, 'told', NOW - LEASE, 'left', 1)
end
return { 'done' }
