import type { IncomingMessage } from 'node:http';

/**
 * node:http without its facade for ES modules: importing that asks for each of its exports, of which one is WebSocket, and so loads all of undici,
 * some 30 ms of every start (Node 24, lib/http.js).
 */
const http = process.getBuiltinModule('node:http');
export const { Agent, createServer, request } = http;

export function isIncomingMessage(value: unknown): value is IncomingMessage {
  return value instanceof http.IncomingMessage;
}
