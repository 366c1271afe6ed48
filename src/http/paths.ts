/** `extensions.http.routePrefix` of host.json, as it shows in addresses. */
export const API_PREFIX = '/api';

/** Address of a resource, for `Location` and status links: relative to the origin, which proxies may change. */
export function apiPath(...segments: readonly string[]): string {
  return [API_PREFIX, ...segments.map(encodeURIComponent)].join('/');
}
