-- What wrk sends. Arguments: KIND PATH SALT; the last line of its output is what was counted, as JSON.
-- KIND: same, the same request head again and again; heads, a browser's head that differs in every request;
-- unique, a name nobody asked for before; post, 1 KB each time.

local count = 0

local BROWSER = table.concat({
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
  "Accept-Language: en-GB,en;q=0.9,de;q=0.7",
  'sec-ch-ua: "Not/A)Brand";v="8", "Chromium";v="126", "Google Chrome";v="126"',
  "sec-ch-ua-mobile: ?0",
  'sec-ch-ua-platform: "Linux"',
  "sec-fetch-dest: document",
  "sec-fetch-mode: navigate",
  "sec-fetch-site: same-origin",
  "sec-fetch-user: ?1",
  "upgrade-insecure-requests: 1",
  "Referer: http://bench.edge.localhost/articles/2026/index.html?page=2",
}, "\r\n")

function init(args)
  local kind, path, salt = args[1], args[2], args[3]
  local host = wrk.headers["Host"]
  if kind == "heads" then
    local before = "GET " .. path .. " HTTP/1.1\r\nHost: " .. host .. "\r\n" .. BROWSER
      .. "\r\nCookie: consent=all; theme=dark; _ga=GA1.1.1029384756.1718000000; session=" .. salt
    request = function()
      count = count + 1
      return before .. count .. "\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d" .. (10000000 + count)
        .. "-00f067aa0ba902b7-01\r\n\r\n"
    end
  elseif kind == "unique" then
    local before = "GET " .. path .. salt .. "-"
    local after = " HTTP/1.1\r\nHost: " .. host .. "\r\n\r\n"
    request = function()
      count = count + 1
      return before .. count .. after
    end
  elseif kind == "post" then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/octet-stream"
    wrk.body = string.rep("0123456789abcdef", 64)
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "bytes": %d, "microseconds": %d, "refused": %d, "failed": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.bytes, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
