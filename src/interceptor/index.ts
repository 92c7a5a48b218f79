export { originalDestination, unmapped } from './original-destination.ts';
export { listenRedirect, type RedirectInterceptor, type RedirectOptions } from './redirect.ts';
export type { Flow, FlowHandler, Interceptor } from './types.ts';
