import { defineConfig } from "vite";

// The server's content policy is `default-src 'self'`: nothing inline, nothing from elsewhere.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../src/latent_atlas/explorer/server/static",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: { proxy: { "/api": "http://127.0.0.1:8000" } },
});
