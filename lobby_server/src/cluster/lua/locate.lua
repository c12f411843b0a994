-- KEYS: the player's. ARGV: the node that asks.
local at = redis.call('GET', KEYS[1])
if at and life(ARGV[1], at) < FORGOTTEN then
  return { 'at', at }
end
return { 'nowhere' }
