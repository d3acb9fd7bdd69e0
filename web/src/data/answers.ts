/** What a backend answers in the language of the page. */

import { language } from "./texts";

/**
 * Korean by the English sentence. A {name} stands for a value, which is looked up as well, and {n}
 * for a number.
 */
export const KOREAN: Readonly<Record<string, string>> = {
  // names
  "decoded": "복호화",
  "nearest real": "최근접 실제",
  "log-density": "로그 밀도",
  "log-density with noise {n}": "로그 밀도, 노이즈 {n}",
  "distance from the mean": "평균까지의 거리",
  "change by decoding and encoding": "복호화·부호화에 따른 변화",
  "the path": "경로",
  "the leg": "구간",
  "{n} of {m} paths": "경로 {m}개 중 {n}개",
  "{n} of {m} legs": "구간 {m}개 중 {n}개",
  "start": "출발점",
  "end": "도착점",
  "codes": "코드",
  "decoded images": "복호화된 이미지",
  "model": "모델",
  "map": "지도",

  // photos
  "decoding took longer than {seconds} seconds; give a smaller image":
    "이미지를 읽는 데 {seconds}초 넘게 걸려 중단했습니다. 더 작은 이미지를 쓰십시오.",
  "decoding crashed; give another file":
    "이미지를 읽다가 프로그램이 멈췄습니다. 다른 파일을 쓰십시오.",
  "the image has more than {n} pixels; give a smaller one":
    "이미지가 {n} 픽셀보다 큽니다. 더 작은 이미지를 쓰십시오.",
  "this is not an image that can be used; give a file of one of the formats {formats}":
    "사용할 수 없는 이미지입니다. 다음 형식의 파일을 쓰십시오: {formats}",
  "{name} is not an image that can be used ({reason}); give another file":
    "사용할 수 없는 이미지입니다({reason}). 다른 파일을 쓰십시오.",
  "the image has {width} x {height} pixels; give one of at most {most}, and {side} along each side":
    "이미지 크기가 {width} × {height} 픽셀입니다. 전체 {most} 픽셀, 한 변 {side} 픽셀까지 읽을 수 있습니다.",
  "the image refers to the same bytes again and again; give another file":
    "이미지가 같은 데이터를 되풀이해서 가리킵니다. 다른 파일을 쓰십시오.",
  "the file is empty": "파일이 비어 있음",
  "its format is unknown": "알 수 없는 형식",
  "it has fewer rows than it says: it is cut or damaged": "파일이 잘렸거나 손상됨",
  "it has a NaN or an infinity": "NaN이나 무한대가 들어 있음",
  "its colour mode {mode} is not supported": "지원하지 않는 색상 모드 {mode}",
  "anomaly score": "이상치 점수",
  "p value": "p값",
  "is outlier": "이상치 여부",
  "rarity": "희소성",
  "excess error": "초과 오차",
  "excess distance": "초과 거리",
  "excess residual": "초과 잔차",
  "excess sharpness": "초과 선명도",
  "excess texture": "초과 질감",
  "log prob": "로그 밀도",
  "typicality": "전형성",
  "realness": "실제성",
  "error": "재구성 오차",
  "width": "사후분포의 폭",
  "sharpness": "선명도",
  "texture": "질감",

  // the server
  "this took longer than {seconds} seconds and was stopped; ask for fewer frames, waypoints or planners, or a smaller image, or try again when the machine is less busy":
    "{seconds}초 넘게 걸려 중단했습니다. 프레임, 경유점, 플래너를 줄이거나 더 작은 이미지를 쓰거나, 컴퓨터가 덜 바쁠 때 다시 시도하십시오.",
  "the request is larger than this server takes, which /api/atlas says; send less":
    "서버가 받을 수 있는 크기를 넘었습니다. 더 적게 보내십시오.",
  "the request took longer than {seconds} seconds to arrive":
    "요청이 {seconds}초 안에 도착하지 않았습니다.",
  "too many large requests arrive at once; ask again in a second":
    "큰 요청이 한꺼번에 몰렸습니다. 잠시 뒤 다시 시도하십시오.",
  "too many requests are waiting; ask again in a second":
    "대기 중인 요청이 너무 많습니다. 잠시 뒤 다시 시도하십시오.",
  "the server is stopping; start it again, and then ask again":
    "서버가 종료되는 중입니다. 서버를 다시 시작한 뒤 시도하십시오.",
  "this is a fault of the server; what it printed belongs into a bug report":
    "서버 오류입니다. 서버가 출력한 내용을 버그 보고에 넣어 주십시오.",
  "this run is still training and has no map yet; watch its losses until it has":
    "아직 학습 중이라 지도가 없습니다. 지도가 생길 때까지 손실을 지켜보십시오.",
  "this needs the server; open the run with latent-atlas serve":
    "서버가 필요한 기능입니다. latent-atlas serve로 여십시오.",

  // planes
  "the layout of codes needs PaCMAP, which is missing here; pip install latent-atlas[embedding]":
    "임베딩을 그리려면 PaCMAP이 필요합니다: pip install latent-atlas[embedding]",
  "a layout is of {least} to {most} codes, and these are {n}; look at a plane":
    "임베딩은 코드 {least}개에서 {most}개까지 그릴 수 있는데 {n}개입니다. 평면을 보십시오.",
  "these codes have one coordinate, so they span no plane and there is nothing to draw":
    "코드의 좌표가 하나뿐이라 평면을 그릴 수 없습니다.",
  "these codes have one coordinate, so they span no plane; there is nothing to draw":
    "코드의 좌표가 하나뿐이라 평면을 그릴 수 없습니다.",
  "the three codes lie on one line, so they span no plane; choose a third one off it":
    "세 코드가 한 직선 위에 있어 평면이 정해지지 않습니다. 직선 밖의 세 번째 점을 고르십시오.",
  "the two directions are parallel or zero, so they span no plane; choose others":
    "두 방향이 평행하거나 0이라 평면이 정해지지 않습니다. 다른 방향을 고르십시오.",
  "'{attribute}' has several values, so it has no one direction; name one of its classes":
    "‘{attribute}’: 값이 여럿이라 방향이 하나로 정해지지 않습니다. 클래스 하나를 고르십시오.",

  // paths
  "start and end of path {n} are the same code; choose two different codes":
    "출발점과 도착점이 같은 코드입니다. 서로 다른 두 코드를 고르십시오.",
  "waypoints {first} and {second} follow each other and are the same code; leave one of them out":
    "이어지는 두 경유점이 같은 코드입니다. 하나를 빼십시오.",
  "ends {first} and {second} follow each other and are the same code; leave one of them out":
    "이어지는 두 경유점이 같은 코드입니다. 하나를 빼십시오.",
  "{frames} frames cannot show {waypoints} waypoints; choose frames of {least} or more":
    "프레임 {frames}개로는 경유점 {waypoints}개를 나타낼 수 없습니다. 프레임을 {least}개 이상으로 늘리십시오.",
  "{frames} frames cannot show {waypoints} waypoints":
    "프레임 {frames}개로는 경유점 {waypoints}개를 나타낼 수 없습니다.",
  "planner '{planner}' stops {left} of the way short of a waypoint, and a path through waypoints visits them exactly; choose a planner that arrives, or arrive=True for a walk":
    "플래너 {planner}: 경유점까지 거리의 {left}를 남기고 멈춥니다. 경유점을 지나는 경로는 끝까지 도착해야 하니, 도착하는 플래너를 고르거나 ‘미는 힘을 줄여 B에 도착’을 켜십시오.",
  "planner '{planner}' ends short of a waypoint, and a path visits its waypoints exactly; choose a planner that arrives, or let the walk arrive":
    "플래너 {planner}: 경유점에 못 미쳐 멈춥니다. 경유점을 지나는 경로는 끝까지 도착해야 하니, 도착하는 플래너를 고르거나 ‘미는 힘을 줄여 B에 도착’을 켜십시오.",
  "attributes are kept between two codes, and {waypoints} waypoints were given; choose two":
    "속성은 두 코드 사이에서만 유지할 수 있는데 경유점이 {waypoints}개입니다. 둘만 남기십시오.",
  "the walk diverged at step {step}; choose a smaller alpha than {alpha}":
    "{step} 스텝에서 발산했습니다. α를 {alpha}보다 작게 하십시오.",
  "the walk ran away at step {step}; choose a smaller alpha than {alpha}":
    "{step} 스텝에서 발산했습니다. α를 {alpha}보다 작게 하십시오.",
  "'{attribute}' of path {path} would change by {change}; choose a finite change other than 0":
    "‘{attribute}’: 변화량이 {change}입니다. 0이 아닌 값을 고르십시오.",
  "'{attribute}' would not change; say by how much it is to":
    "‘{attribute}’: 변화량이 0입니다. 0이 아닌 값을 고르십시오.",
  "what is kept leaves nothing to change; keep less":
    "유지할 속성이 많아 바꿀 수 있는 것이 없습니다. 유지할 속성을 줄이십시오.",
  "keeping a property along a path needs the server; open the run with latent-atlas serve":
    "경로에서 속성을 유지하려면 서버가 필요합니다. latent-atlas serve로 여십시오.",
  "an even change of the pictures needs the server; open the run with latent-atlas serve":
    "이미지가 고르게 바뀌는 경로에는 서버가 필요합니다. latent-atlas serve로 여십시오.",

  // what is to be known of paths
  "{paths} had not converged after {iterations} iterations (residual {residual}), and the last one found is given; {advice}":
    "{paths}: {iterations}번 반복해도 수렴하지 않아(잔차 {residual}) 마지막으로 찾은 것을 보여 줍니다.",
  "the path did not converge; give more iterations, or a larger tolerance":
    "경로가 수렴하지 않았습니다. 마지막으로 찾은 것을 보여 줍니다.",
  "the {end} of {paths} is off-manifold, up to {nats} nats below the threshold{which}; travel.project moves codes onto the manifold":
    "{paths}: {end}이 다양체 밖에 있습니다(임계값보다 최대 {nats} nat 아래). ‘고밀도로 이동’으로 옮길 수 있습니다.",
  "{paths} cannot arrive: the end differs from the start in '{attribute}'{how}, which is kept, so the path goes to the nearest code that keeps it":
    "{paths}: 유지할 속성 ‘{attribute}’이(가) 도착점에서 다르기 때문에, 그 속성을 유지하는 가장 가까운 코드까지만 갑니다.",
  "for {paths} no end was found that is on the manifold and keeps the attributes, so the end only keeps them; keep them within more, or with a smaller margin":
    "{paths}: 다양체 위에서 속성을 유지하는 도착점을 찾지 못했습니다. 도착점은 속성만 유지합니다.",
  "'{attribute}' cannot be kept: the start is read as '{value}', so there is nothing of it to keep; start from one that has it, or keep '{whole}'":
    "‘{attribute}’: 출발점이 ‘{value}’(으)로 읽혀 유지할 수 없습니다. 이 속성이 있는 곳에서 출발하거나 ‘{whole}’을(를) 유지하십시오.",
  "'{attribute}' cannot be read: {told}; choose another attribute, or train for longer":
    "‘{attribute}’: 읽을 수 없습니다. {told}. 다른 속성을 고르거나 더 오래 학습하십시오.",
  "'{attribute}' is not read reliably: {told}, so frames may be off unseen":
    "‘{attribute}’: 안정적으로 읽히지 않아 프레임의 값이 틀릴 수 있습니다. {told}",
  "'{attribute}' {how}: {told}, so frames may lose it unseen":
    "‘{attribute}’: {how}. 프레임에서 속성이 사라져도 모를 수 있습니다. {told}",
  "cannot be kept reliably": "안정적으로 유지되지 않습니다",
  "can hardly be kept": "거의 유지되지 않습니다",
  "the network that reads {name} from {source} explains {percent} % of its variance on held-out ones (R²), with a typical error of {error}":
    "{source}에서 읽는 네트워크는 홀드아웃 분산의 {percent} %를 설명하고(R²), 오차는 보통 {error}입니다",
  "the classifier that reads {name} from {source} is right for {percent} % of held-out ones, where the commonest value is {common} %":
    "{source}에서 읽는 분류기는 홀드아웃의 {percent} %를 맞히며, 가장 흔한 값은 {common} %입니다",
  "real codes can hardly be told from points between them here (AUROC {auroc}, 0.5 is chance): which frames are unlike real codes says little":
    "실제 코드와 그 사이의 점이 거의 구별되지 않아(AUROC {auroc}, 우연이면 0.5), 어느 프레임이 실제 코드와 다른지는 크게 믿을 수 없습니다.",
  "{frames} frames are shown by {images} images{which}, so images repeat":
    "프레임 {frames}개를 이미지 {images}장으로 보여 주므로 같은 이미지가 되풀이됩니다.",

  // samples
  "the particles have an effective sample size of {size} for {n} samples, so the shares of separate clusters are uncertain; give more particles, or codes":
    "샘플 {n}개의 유효 표본 크기가 {size}이라, 떨어진 군집들의 비율이 정확하지 않습니다.",
  "the conditions are rare: {drawn} samples of the density have an effective sample size of {size} under them, for {n} samples asked for, so some resemble each other; ask for fewer samples, or for a wider condition":
    "조건에 맞는 코드가 드물어(유효 표본 크기 {size}, 샘플 {n}개) 서로 비슷한 샘플이 있습니다. 샘플 수를 줄이거나 조건을 넓히십시오.",
  "the samples are not matched with the real codes: no weights give them the mean and the covariance of these, so the map is far from the codes; train it longer":
    "샘플의 평균과 공분산을 실제 코드에 맞출 수 없습니다. 지도가 코드와 많이 다르니 더 오래 학습하십시오.",
  "none of {n} proposals meets the conditions; ask for a class or a range that the data has, or for a wider one":
    "제안 {n}개 가운데 조건에 맞는 것이 없습니다. 데이터에 있는 클래스나 더 넓은 조건을 고르십시오.",
  "none of {n} particles reaches the density: it is 0 or not a number wherever the particles start; give a wider condition, or more particles":
    "입자 {n}개 가운데 밀도에 닿은 것이 없습니다. 조건을 넓히십시오.",
  "the chains start at real images of this class; only the density keeps them in it":
    "이 클래스의 실제 이미지에서 출발하지만, 클래스 안에 머물게 하는 것은 밀도뿐입니다.",
  "no real code is of this kind, so there is nowhere to start from":
    "이런 실제 코드가 없어 출발할 곳이 없습니다.",

  // the overview
  "Rare and typical": "드문 이미지와 전형적인 이미지",
  "rarest": "가장 드문 이미지",
  "most typical": "가장 전형적인 이미지",
  "{images} ranked by {by}: high values are rare":
    "{images}의 순위, 기준: {by}. 값이 클수록 드뭅니다.",
  "the mean distance to the ten nearest others": "가까운 이미지 열 장까지의 평균 거리",
  "−log q in nats": "−log q, 단위 nat",
  "{n} image": "이미지 {n}장",
  "{n} images": "이미지 {n}장",
  "{n} group": "{n}묶음",
  "{n} groups": "{n}묶음",
  "Duplicates": "중복 이미지",
  "{copies} of copies and {near} of near-duplicates: closer than {within}, where the nearest other image is usually {typical} away":
    "같은 이미지 {copies}, 거의 같은 이미지 {near}: 거리가 {within}보다 가깝습니다. 보통은 가장 가까운 이미지가 {typical} 떨어져 있습니다.",
  "{n}. {kind}": "{n}. {kind}",
  "copies": "같은 이미지",
  "within {n}": "거리 {n} 이내",
  "Compared with {other}": "{other}와(과) 비교",
  "unlike the run": "이 실행과 다른 이미지",
  "lacking in the other": "비교 대상에 없는 이미지",
  "the distributions {found}: drift {drift}, p-value {p} ({images} images, {real} real ones)":
    "{found}: 드리프트 {drift}, p값 {p} (이미지 {images}장, 실제 이미지 {real}장)",
  "differ": "두 분포가 다릅니다",
  "are not seen to differ": "두 분포의 차이가 보이지 않습니다",
  "{images} of the set are real images as well, so density and coverage are too high, and the p-value finds less":
    "{images}은 실제 이미지이기도 해서 density와 coverage가 너무 높게 나오고 p값이 차이를 덜 찾습니다.",
  "density {density}, where images of the same distribution have 1.00":
    "density {density} (같은 분포의 이미지면 1.00)",
  "coverage {coverage}, where as many images of the same distribution have {expected} on average":
    "coverage {coverage} (같은 분포의 이미지 같은 수면 평균 {expected})",
  "{found}, for instance {names}": "{found} (예: {names})",
  "{images} of {other} unlike those of the run": "{other}에서 이 실행과 다른 이미지: {images}",
  "{images} of the run that {other} lacks": "{other}에 없는 이미지: {images}",
};

const PLACE = /\{(\w+)\}/g;
const forms = Object.entries(KOREAN).map(([english, korean]) => {
  const literal = english.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
  const form = literal.replace(PLACE, (_, name: string) =>
    name.length === 1 ? `(?<${name}>[\\d.,e+-]+)` : `(?<${name}>.*?)`,
  );
  return [new RegExp(`^${form}$`, "su"), korean] as const;
});

/** A sentence or a name in Korean; one that has none stays as it is. */
export function inKorean(sentence: string): string {
  for (const [form, korean] of forms) {
    const found = form.exec(sentence);
    if (found)
      return korean.replace(PLACE, (_, name: string) => inKorean(found.groups?.[name] ?? ""));
  }
  return sentence;
}

/** A sentence or a name that a backend answered, in the language of the page. */
export const said = (sentence: string): string =>
  language === "ko" ? inKorean(sentence) : sentence;
