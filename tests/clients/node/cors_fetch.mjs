// fetch, held to the CORS protocol as a browser holds a page of some origin to it (Fetch, sections 3.3 and 4.9): asks
// before what is not simple, sends no cookies, and hides what the page may not read. For where no browser is.

const SIMPLE_METHODS = ['GET', 'HEAD', 'POST'];
const SIMPLE_TYPES = ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'];
const SIMPLE_HEADERS = ['accept', 'accept-language', 'content-language'];
const ALWAYS_READABLE = [
  'cache-control', 'content-language', 'content-length', 'content-type', 'expires', 'last-modified', 'pragma',
];
const SET_BY_BROWSERS = ['user-agent']; // a page's own is dropped or needs no question

/** The fetch of a page of `origin`. A redirect is not followed: none of the pages here meets one. */
export function corsFetch(origin) {
  return async (input, init = {}) => {
    const url = new URL(input);
    const method = (init.method ?? 'GET').toUpperCase();
    const headers = new Headers(init.headers);
    if (init.body instanceof URLSearchParams && !headers.has('content-type')) {
      headers.set('content-type', SIMPLE_TYPES[0]);
    }
    SET_BY_BROWSERS.forEach((name) => headers.delete(name));
    const unsafe = [...headers].filter(([name, value]) => !isSimple(name, value)).map(([name]) => name).sort();
    if (!SIMPLE_METHODS.includes(method) || unsafe.length) await preflight(url, origin, method, unsafe);

    headers.set('origin', origin);
    const response = await fetch(url, { ...init, method, headers, redirect: 'manual' });
    if (!isAllowed(response, origin)) throw new TypeError('Failed to fetch');
    return onlyReadable(response);
  };
}

function isSimple(name, value) {
  if (name === 'content-type') return SIMPLE_TYPES.includes(value.split(';')[0].trim().toLowerCase());
  return SIMPLE_HEADERS.includes(name);
}

async function preflight(url, origin, method, unsafe) {
  const response = await fetch(url, {
    method: 'OPTIONS',
    redirect: 'manual',
    headers: {
      origin,
      'access-control-request-method': method,
      ...(unsafe.length && { 'access-control-request-headers': unsafe.join(',') }),
    },
  });
  const [methods, names] = [list(response, 'allow-methods'), list(response, 'allow-headers')];
  const allowedNames = names.map((name) => name.toLowerCase());
  const may = response.ok
    && isAllowed(response, origin)
    && (SIMPLE_METHODS.includes(method) || methods.includes(method) || methods.includes('*'))
    // `*` never stands for Authorization.
    && unsafe.every((name) => allowedNames.includes(name) || (names.includes('*') && name !== 'authorization'));
  if (!may) throw new TypeError('Failed to fetch');
}

function isAllowed(response, origin) {
  return ['*', origin].includes(response.headers.get('access-control-allow-origin'));
}

function onlyReadable(response) {
  const exposed = list(response, 'expose-headers').map((name) => name.toLowerCase());
  const readable = [...response.headers].filter(([name]) =>
    ALWAYS_READABLE.includes(name) || exposed.includes(name) || exposed.includes('*'));
  const body = [204, 205, 304].includes(response.status) ? null : response.body;
  return new Response(body, { status: response.status, headers: readable });
}

function list(response, name) {
  const value = response.headers.get(`access-control-${name}`) ?? '';
  return value.split(',').map((item) => item.trim()).filter(Boolean);
}
