-- KEYS: the player's. ARGV: the node, the player.
local former = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', LIFE)
if former and former ~= ARGV[1] and life(ARGV[1], former) < FORGOTTEN then
  local inbox = 'bt:in:' .. former
  redis.call('XADD', inbox, 'MAXLEN', '~', 20000, '*', 'player', ARGV[2])
  redis.call('PEXPIRE', inbox, LEASE + RESERVED)
end
return { 'done' }
