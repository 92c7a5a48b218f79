import { testServers } from './arrangement.ts';

testServers({ mode: 'redirect', claimed: true });
