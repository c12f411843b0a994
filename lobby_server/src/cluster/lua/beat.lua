-- A node is there. ARGV: the node, its site, fingerprint of its key, version of its wire, a number to draw an era with, and the
-- last note that it has read.
-- Returns the era, whether the others had reason to think that it was gone, the other nodes, and its notes.
local node, inbox = ARGV[1], 'bt:in:' .. ARGV[1]
local others, over, misfit = look_around(node, ARGV[3], ARGV[4])
if misfit then
  return misfit
end
-- A full Redis refuses what takes memory, but not after a write that takes none: a beat is always heard.
redis.call('PEXPIRE', 'bt:pulse', DAY)
for _, other in ipairs(over) do
  redis.call('ZREM', 'bt:nodes', other)
end
local pulse = redis.call('HMGET', 'bt:pulse', 'era', 'last')
local era = pulse[1]
if not era then
  era = ARGV[5]
  redis.call('HSET', 'bt:pulse', 'era', era, 'born', NOW, 'since', NOW)
elseif NOW - tonumber(pulse[2]) > GAP then
  redis.call('HSET', 'bt:pulse', 'since', NOW)
end
redis.call('HSET', 'bt:pulse', 'last', NOW)
redis.call('PEXPIRE', 'bt:pulse', DAY)
local own = 'bt:n:' .. node
local told = redis.call('HGET', own, 'told')
local lapsed = (not told or NOW - tonumber(told) >= LEASE) and 1 or 0
redis.call('HSET', own, 'told', NOW, 'site', ARGV[2], 'key', ARGV[3], 'wire', ARGV[4])
redis.call('HDEL', own, 'left')
redis.call('PEXPIRE', own, LEASE + RESERVED)
redis.call('ZADD', 'bt:nodes', NOW, node)
redis.call('PEXPIRE', 'bt:nodes', DAY)
local notes = {}
redis.call('XTRIM', inbox, 'MINID', ARGV[6])
for _, entry in ipairs(redis.call('XRANGE', inbox, '(' .. ARGV[6], '+', 'COUNT', 1000)) do
  local player = entry[2][2]
  -- It may have come back meanwhile.
  local back = redis.call('GET', 'bt:p:' .. player) == node
  table.insert(notes, { entry[1], back and '' or player })
end
redis.call('PEXPIRE', inbox, LEASE + RESERVED)
return { 'there', era, lapsed, others, notes }
