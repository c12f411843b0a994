-- What is new of a game's public rooms. KEYS: the list, and those that went. ARGV: the node that asks; after which change, and
-- after which that went, 0 at the beginning; 1 while all are being told; how many; and what stands before a name in a room's
-- key. Returns whether all are told anew, whether there is more, whether that is more of all, the two to go on from, the rooms (name, node, what is shown),
-- and the names that went.
local changed, gone, begun, limit = ARGV[2], ARGV[3], ARGV[4] == '1', tonumber(ARGV[5])
local kept = (NOW - GONE_KEPT) * 1000
local anew = not begun and (changed == '0' or tonumber(gone) < kept or tonumber(gone) > (NOW + GONE_KEPT) * 1000)
if anew then
  changed, gone = '0', string.format('%.0f', (NOW - 1) * 1000)
end
local rooms, went, over = {}, {}, {}
local listed = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. changed, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
for index = 1, #listed, 2 do
  local name = listed[index]
  changed = listed[index + 1]
  local room = redis.call('HMGET', ARGV[6] .. name, 'node', 'summary')
  if not room[1] then
    -- It was kept too long without a word of its node.
    table.insert(over, name)
  elseif room[1] ~= ARGV[1] then
    table.insert(rooms, { name, room[1], room[2] })
  end
end
if #over > 0 then
  redis.call('ZREM', KEYS[1], unpack(over))
end
local more = #listed == limit * 2
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. gone, '+inf', 'LIMIT', 0, 1000)) do
  table.insert(went, name)
end
if not more then
  -- What is written in this very millisecond has a greater number, or is told twice.
  local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
  gone = string.format('%.0f', math.max(tonumber(gone), (NOW - 1) * 1000))
  if #went == 1000 then
    gone = redis.call('ZSCORE', KEYS[2], went[1000])
    more = true
  elseif last[2] then
    gone = string.format('%.0f', math.max(tonumber(gone), tonumber(last[2])))
  end
  if changed == '0' then
    changed = '1'
  end
end
return { anew and 1 or 0, more and 1 or 0, (anew or begun) and more and 1 or 0, changed, gone, rooms, went }
