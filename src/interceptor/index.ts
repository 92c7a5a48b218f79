export { originalDestination, unmapped } from './original-destination.ts';
export { listenRedirect, type RedirectInterceptor, type RedirectOptions } from './redirect.ts';
export { TransparentListener, type TransparentOptions } from './transparent.ts';
export type { Flow, FlowHandler, Interceptor, InterceptorCounters, SwitchedInterceptor } from './types.ts';
