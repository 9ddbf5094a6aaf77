//! The Lua scripts: each is one atomic step in the store. Redis caches them; the client sends only their hash.

use std::sync::LazyLock;

use redis::Script;

/// Rising numbers: above the last one, and never below the server's time in microseconds (below 2^53, so exact
/// in Lua), so that they rise even over the loss of the counter.
const RISE: &str = r"
local function rise(counter)
  local time = redis.call('TIME')
  local last = tonumber(redis.call('GET', counter) or '0')
  local next = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
  redis.call('SET', counter, next)
  return next
end
";

/// Whether the store is not the one that the caller works with: `prefix` is what its generation begins with (empty:
/// any will do), `version` what it is not older than.
const LOST: &str = r"
local function lost(key, prefix, version)
  if prefix == '' then return false end
  local found = redis.call('HMGET', key, 'value', 'version')
  return not found[1] or found[1]:sub(1, #prefix) ~= prefix or tonumber(found[2]) < tonumber(version)
end
";

/// Looks at the next two entries of the index, and forgets those whose documents have ended. Each document that ends by
/// itself leaves one; with two looked at for each one written, the index is never much longer than what it is for.
const LOOK_THROUGH: &str = r"
local function look_through(index, position, documents)
  local after = redis.call('GET', position)
  local names = redis.call('ZRANGEBYLEX', index, after and '(' .. after or '-', '+', 'LIMIT', 0, 2)
  for _, name in ipairs(names) do
    if redis.call('EXISTS', documents .. name) == 0 then redis.call('ZREM', index, name) end
  end
  if names[2] then redis.call('SET', position, names[2]) else redis.call('DEL', position) end
end
";

/// Writes or deletes a document.
///
/// Keys: document, index, version counter, lease, generation, how far the index was looked through. Arguments: key in
/// the index, what is expected (`any`, `absent` or a version), `put` or `delete`, value, time-to-live in ms or empty,
/// term of the fence or empty, generation, its version, what documents' keys begin with.
/// Answers the version, `clash`, `fenced`, or `lost`.
pub(crate) static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"{RISE}{LOST}{LOOK_THROUGH}
if lost(KEYS[5], ARGV[7], ARGV[8]) then return 'lost' end
if ARGV[6] ~= '' then
  local lease = redis.call('HMGET', KEYS[4], 'term', 'generation')
  if lease[1] ~= ARGV[6] or lease[2] ~= ARGV[7] then return 'fenced' end
end
local present = redis.call('HGET', KEYS[1], 'version')
if ARGV[2] == 'absent' then
  if present then return 'clash' end
elseif ARGV[2] ~= 'any' and present ~= ARGV[2] then return 'clash' end
if ARGV[3] == 'delete' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  return present or '0'
end
-- First of all the writes: a store without memory refuses it, but would not refuse what follows a `DEL`.
local version = rise(KEYS[3])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'version', version, 'value', ARGV[4])
if ARGV[5] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
if ARGV[5] ~= '' then look_through(KEYS[2], KEYS[6], ARGV[9]) end
return version"
    ))
});

/// Documents of an index range, in order; forgets index entries whose documents have ended.
///
/// Keys: index, generation. Arguments: what documents' keys begin with, range from, range to, most documents, most
/// entries looked at, most bytes, generation, its version. Answers the last entry looked at (empty when the range is
/// through), then key, version and value of each document; nothing at all when the store is lost.
pub(crate) static SCAN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"{LOST}
if lost(KEYS[2], ARGV[7], ARGV[8]) then return {{}} end
local limit, bytes_max = tonumber(ARGV[4]), tonumber(ARGV[6])
local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[5])
local found, bytes = {{''}}, 0
for position, name in ipairs(names) do
  local document = redis.call('HMGET', ARGV[1] .. name, 'version', 'value')
  if document[1] then
    found[#found + 1] = name
    found[#found + 1] = document[1]
    found[#found + 1] = document[2]
    bytes = bytes + #document[2]
  else
    redis.call('ZREM', KEYS[1], name)
  end
  local full = (#found - 1) / 3 >= limit or bytes >= bytes_max
  if full or position == tonumber(ARGV[5]) then
    found[1] = name
    break
  end
end
return found"
    ))
});

/// Takes a lease, or renews it for its present holder.
///
/// Keys: lease, term counter, generation. Arguments: holder, time-to-live in ms, generation, its version. Answers the
/// term, nothing, or `lost`. A lease that is known to be of another generation is nobody's.
pub(crate) static ACQUIRE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"{RISE}{LOST}
if lost(KEYS[3], ARGV[3], ARGV[4]) then return 'lost' end
local lease = redis.call('HMGET', KEYS[1], 'holder', 'term', 'generation')
local other = lease[3] and lease[3] ~= '' and ARGV[3] ~= '' and lease[3] ~= ARGV[3]
local held = lease[1] and not other
if held and lease[1] ~= ARGV[1] then return false end
local term = held and lease[2] or rise(KEYS[2])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'term', term, 'generation', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return term"
    ))
});

/// Renews a lease.
///
/// Keys: lease, generation. Arguments: holder, term, time-to-live in ms, generation, its version. Answers 1 when it
/// is still held, else 0: also when the store is lost.
pub(crate) static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&format!(
        r"{LOST}
if lost(KEYS[2], ARGV[4], ARGV[5]) then return 0 end
local lease = redis.call('HMGET', KEYS[1], 'holder', 'term', 'generation')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] or lease[3] ~= ARGV[4] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1"
    ))
});

/// Gives a lease up.
///
/// Keys: lease. Arguments: holder, term. Answers 1 when it was held, else 0.
pub(crate) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local lease = redis.call('HMGET', KEYS[1], 'holder', 'term')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then return 0 end
return redis.call('DEL', KEYS[1])",
    )
});

/// Adds to a counter, which ends a window after its first addition.
///
/// Keys: counter. Arguments: amount, window in ms. Answers the counter's new value.
pub(crate) static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local value = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return value",
    )
});
