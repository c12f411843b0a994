-- Every script begins with this, behind the constants (milliseconds) and `now`, which gives Redis' own time.

local NOW = now()

-- How a node is, as another one sees it.
local THERE, DOUBTFUL, GONE, FORGOTTEN = 0, 1, 2, 3
local nodes = {}

-- Returns how `node` is, and whether it took its leave.
local function life(asker, node)
  if node == asker then
    return THERE, false
  end
  local known = nodes[node]
  if not known then
    local entry = redis.call('HMGET', 'bt:n:' .. node, 'told', 'left', 'site')
    known = { silent = entry[1] and NOW - tonumber(entry[1]), left = entry[2] and true, site = entry[3] or '' }
    nodes[node] = known
  end
  local silent = known.silent
  if not silent or silent >= LEASE + RESERVED then
    return FORGOTTEN, known.left
  elseif silent >= LEASE then
    return GONE, known.left
  elseif silent >= DOUBT then
    return DOUBTFUL, false
  end
  return THERE, false
end

-- Returns where players log in at a node, which `life` was asked of.
local function site(asker, node)
  return node ~= asker and nodes[node].site or ''
end

-- Returns whether nodes had no chance to tell that they are there (Redis was away, or all nodes were), and whether what
-- they knew was lost. For a lease after that nobody may take anything over.
local function grace()
  local pulse = redis.call('HMGET', 'bt:pulse', 'last', 'since', 'born')
  if not pulse[1] then
    return true, true
  end
  local gap = NOW - tonumber(pulse[1]) > GAP or NOW - tonumber(pulse[2]) < LEASE
  return gap, NOW - tonumber(pulse[3]) < LEASE
end

-- Returns whether nothing may be taken from this node yet, gone as it seems.
local function is_safe(node)
  local _, left = life('', node)
  return not left and grace()
end

-- Returns the number of a change: the time in microseconds, and each one greater than the one before.
local function tick()
  local number = math.max(NOW * 1000, tonumber(redis.call('GET', 'bt:tick') or 0) + 1)
  number = string.format('%.0f', number)
  redis.call('SET', 'bt:tick', number, 'PX', DAY)
  return number
end

-- Notes that a list has this room no longer. `list` is the list's key.
local function unlist(list, name)
  if redis.call('ZREM', list, name) == 1 then
    local went = 'bt:d:' .. string.sub(list, 6)
    redis.call('ZADD', went, tick(), name)
    redis.call('ZREMRANGEBYSCORE', went, '-inf', string.format('%.0f', (NOW - GONE_KEPT) * 1000))
    redis.call('PEXPIRE', went, DAY)
  end
end

local function remove(key)
  local room = redis.call('HMGET', key, 'look', 'code', 'list', 'name', 'room')
  if not room[5] then
    return
  end
  for _, pointer in ipairs({ room[1], room[2], 'bt:i:' .. room[5] }) do
    if redis.call('GET', pointer) == key then
      redis.call('DEL', pointer)
    end
  end
  unlist(room[3], room[4])
  redis.call('DEL', key)
end

-- Returns the room that stands in the way of another one: its node and id; nothing where there is none. Those of forgotten
-- nodes go. The second result says that it is too early to tell.
local function in_the_way(asker, pointer)
  local key = redis.call('GET', pointer)
  local room = key and redis.call('HMGET', key, 'node', 'room')
  if not room or not room[1] then
    return nil, false
  end
  if life(asker, room[1]) ~= FORGOTTEN then
    return room, false
  elseif is_safe(room[1]) then
    return room, true
  end
  remove(key)
  return nil, false
end

-- Five keys and five values make a room: its own key, look, code, list, id; and room, epoch, public, summary, name.
local function put(node, keys, k, values, v)
  local key = keys[k]
  local was = redis.call('HMGET', key, 'node', 'summary')
  redis.call('HSET', key, 'node', node, 'room', values[v], 'epoch', values[v + 1], 'public', values[v + 2],
    'summary', values[v + 3], 'name', values[v + 4], 'look', keys[k + 1], 'code', keys[k + 2], 'list', keys[k + 3])
  redis.call('PEXPIRE', key, LIFE)
  for _, pointer in ipairs({ keys[k + 1], keys[k + 2], keys[k + 4] }) do
    redis.call('SET', pointer, key, 'PX', LIFE)
  end
  if values[v + 2] == '1' then
    local same = was[1] == node and was[2] == values[v + 3]
    if not same or not redis.call('ZSCORE', keys[k + 3], values[v + 4]) then
      redis.call('ZADD', keys[k + 3], tick(), values[v + 4])
      redis.call('PEXPIRE', keys[k + 3], DAY)
      redis.call('ZREM', 'bt:d:' .. string.sub(keys[k + 3], 6), values[v + 4])
    end
  else
    unlist(keys[k + 3], values[v + 4])
  end
end

-- Looks at the other nodes. Returns those that are there, those that are forgotten, and why `node` does not fit to one of them.
local function look_around(node, key, wire)
  local others, over = {}, {}
  for _, other in ipairs(redis.call('ZRANGE', 'bt:nodes', 0, -1)) do
    local how = other ~= node and life(node, other)
    if how == FORGOTTEN then
      table.insert(over, other)
    elseif how and how < GONE then
      local about = redis.call('HMGET', 'bt:n:' .. other, 'key', 'wire')
      if about[1] ~= key then
        return others, over, { 'key', other, about[1] or '' }
      elseif about[2] ~= wire then
        return others, over, { 'wire', other, about[2] or '' }
      elseif how == THERE then
        table.insert(others, { other, site(node, other) })
      end
    end
  end
  return others, over, nil
end
