// Draws a film with WebGL2: 16-bit values in an integer texture; window, polarity and heat map in the shader.
//
// Film pixels are averaged over the footprint of a screen pixel when shrunk and interpolated when enlarged; at 1:1 every
// screen pixel shows exactly one film pixel.

import { colourTable, reachOf, STEPS } from "./colours.js";

const VERTEX = `#version 300 es
const vec2 corners[3] = vec2[](vec2(-1.0, -1.0), vec2(3.0, -1.0), vec2(-1.0, 3.0));
void main() { gl_Position = vec4(corners[gl_VertexID], 0.0, 1.0); }`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
precision highp sampler2D;
uniform usampler2D film;
uniform sampler2D map;
uniform sampler2D colours;
uniform vec2 filmSize;
uniform vec2 origin;
uniform float perPixel;
uniform float canvasHeight;
uniform vec2 limits;
uniform bool isInverted;
uniform vec4 place;
uniform float reach;
uniform float opacity;
out vec4 colour;

float texel(ivec2 at) {
  return float(texelFetch(film, clamp(at, ivec2(0), ivec2(filmSize) - 1), 0).r);
}
float interpolated(vec2 at) {
  vec2 corner = at - 0.5;
  ivec2 low = ivec2(floor(corner));
  vec2 share = corner - vec2(low);
  return mix(mix(texel(low), texel(low + ivec2(1, 0)), share.x),
             mix(texel(low + ivec2(0, 1)), texel(low + ivec2(1, 1)), share.x), share.y);
}
float averaged(vec2 at) {
  int side = int(clamp(ceil(perPixel), 1.0, 12.0));
  float sum = 0.0;
  for (int row = 0; row < side; row++)
    for (int column = 0; column < side; column++)
      sum += texel(ivec2(floor(at + ((vec2(column, row) + 0.5) / float(side) - 0.5) * perPixel)));
  return sum / float(side * side);
}
float cell(ivec2 at) {
  return texelFetch(map, clamp(at, ivec2(0), textureSize(map, 0) - 1), 0).r;
}
float evidence(vec2 at) {
  vec2 corner = (place.xy + at / filmSize * place.zw) * vec2(textureSize(map, 0)) - 0.5;
  ivec2 low = ivec2(floor(corner));
  vec2 share = corner - vec2(low);
  return mix(mix(cell(low), cell(low + ivec2(1, 0)), share.x),
             mix(cell(low + ivec2(0, 1)), cell(low + ivec2(1, 1)), share.x), share.y);
}
void main() {
  vec2 at = origin + vec2(gl_FragCoord.x, canvasHeight - gl_FragCoord.y) * perPixel;
  if (any(lessThan(at, vec2(0.0))) || any(greaterThanEqual(at, filmSize))) { colour = vec4(0.0, 0.0, 0.0, 1.0); return; }
  float value = perPixel < 1.0 ? interpolated(at) : averaged(at);
  float grey = clamp((value - limits.x) / (limits.y - limits.x), 0.0, 1.0);
  colour = vec4(vec3(isInverted ? 1.0 - grey : grey), 1.0);
  if (opacity > 0.0) {
    float step = (clamp(evidence(at) / reach, -1.0, 1.0) * 0.5 + 0.5) * ${(STEPS - 1).toFixed(1)};
    vec4 paint = texelFetch(colours, ivec2(int(step + 0.5), 0), 0);
    colour.rgb = mix(colour.rgb, paint.rgb, paint.a * opacity);
  }
}`;

function compile(gl, kind, source) {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  return shader;
}

export class WebGLRenderer {
  name = "webgl2";

  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    const program = gl.createProgram();
    gl.attachShader(program, compile(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, compile(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.bindVertexArray(gl.createVertexArray());
    this.at = (name) => gl.getUniformLocation(program, name);
    this.textures = ["film", "map", "colours"].map((name, unit) => this.makeTexture(name, unit));
    this.upload(2, gl.RGBA8, STEPS, 1, gl.RGBA, gl.UNSIGNED_BYTE, colourTable());
    this.setMap(null);
  }

  makeTexture(name, unit) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    gl.uniform1i(this.at(name), unit);
    return unit;
  }

  upload(unit, inside, width, height, format, type, data) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, inside, width, height, 0, format, type, data);
  }

  setFilm(film) {
    const gl = this.gl;
    this.upload(0, gl.R16UI, film.width, film.height, gl.RED_INTEGER, gl.UNSIGNED_SHORT, film.pixels);
    gl.uniform2f(this.at("filmSize"), film.width, film.height);
  }

  setMap(map) {
    const gl = this.gl;
    const values = map ? map.values : [[0]];
    const place = map ? map.film : { left: 0, top: 0, width: 1, height: 1 };
    this.upload(1, gl.R32F, values[0].length, values.length, gl.RED, gl.FLOAT, new Float32Array(values.flat()));
    gl.uniform4f(this.at("place"), place.left, place.top, place.width, place.height);
    gl.uniform1f(this.at("reach"), map ? reachOf(map) : 1);
  }

  // `view`: origin and perPixel in film pixels, low and high of the window, inverted, opacity 0–1.
  draw(view) {
    const gl = this.gl;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.uniform2f(this.at("origin"), view.left, view.top);
    gl.uniform1f(this.at("perPixel"), view.perPixel);
    gl.uniform1f(this.at("canvasHeight"), gl.drawingBufferHeight);
    gl.uniform2f(this.at("limits"), view.low, view.high);
    gl.uniform1i(this.at("isInverted"), view.isInverted ? 1 : 0);
    gl.uniform1f(this.at("opacity"), view.opacity);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
