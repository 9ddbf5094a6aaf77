//! A small made-up company: departments four deep, some of one name, and members in several of them.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::contacts::{DEPARTMENTS, MEMBERS, department_key, member_key, whole_department, whole_member};
use crate::store::{Change, Store};

/// Id, name, the one above, order, leader. Ids do not go by depth.
const DEPARTMENTS_OF_SAMPLE: [(u64, &str, u64, u64, &str); 14] = [
    (1, "星河科技", 0, 100, "chen.jing"),
    (2, "研发中心", 1, 400, "li.wei"),
    (3, "市场部", 1, 300, "wang.fang"),
    (4, "行政部", 1, 200, "zhao.min"),
    (5, "上海分公司", 1, 100, "liu.yang"),
    (21, "平台组", 2, 30, "zhang.tao"),
    (22, "客户端组", 2, 20, "sun.li"),
    (23, "质量保障", 2, 10, "zhou.jie"),
    (31, "品牌", 3, 20, "wu.xia"),
    (32, "销售", 3, 10, "xu.lei"),
    // Each branch has its own.
    (51, "销售", 5, 20, "ma.chao"),
    (52, "行政部", 5, 10, "zhu.ling"),
    (7, "移动端", 22, 20, "sun.li"),
    (8, "桌面端", 22, 10, "guo.feng"),
];

/// Userid, name, departments, whom it reports to, position.
const MEMBERS_OF_SAMPLE: [(&str, &str, &[u64], &str, &str); 28] = [
    ("chen.jing", "陈静", &[1], "", "总经理"),
    ("li.wei", "李伟", &[2], "chen.jing", "技术总监"),
    ("wang.fang", "王芳", &[3], "chen.jing", "市场总监"),
    ("zhao.min", "赵敏", &[4, 52], "chen.jing", "行政主管"),
    ("liu.yang", "刘洋", &[5], "chen.jing", "分公司经理"),
    ("zhang.tao", "张涛", &[21], "li.wei", "架构师"),
    ("sun.li", "孙丽", &[22, 7], "li.wei", "开发经理"),
    ("zhou.jie", "周杰", &[23], "li.wei", "测试经理"),
    ("wu.xia", "吴霞", &[31], "wang.fang", "品牌经理"),
    ("xu.lei", "徐磊", &[32, 51], "wang.fang", "销售经理"),
    ("ma.chao", "马超", &[51], "liu.yang", "销售经理"),
    ("zhu.ling", "朱玲", &[52], "liu.yang", "行政专员"),
    ("guo.feng", "郭峰", &[8], "sun.li", "高级工程师"),
    ("HeXin", "何欣", &[21], "zhang.tao", "工程师"),
    ("gao.yuan", "高原", &[21, 23], "zhang.tao", "工程师"),
    ("lin.na", "林娜", &[7], "sun.li", "工程师"),
    ("luo.bin", "罗斌", &[7], "sun.li", "工程师"),
    ("liang.yu", "梁宇", &[8], "guo.feng", "工程师"),
    ("song.jia", "宋佳", &[8], "guo.feng", "实习生"),
    ("tang.yi", "唐怡", &[23], "zhou.jie", "测试工程师"),
    ("han.xue", "韩雪", &[31], "wu.xia", "设计师"),
    ("feng.gang", "冯刚", &[32], "xu.lei", "销售代表"),
    ("deng.hui", "邓辉", &[32], "xu.lei", "销售代表"),
    ("cao.ying", "曹颖", &[51], "ma.chao", "销售代表"),
    ("peng.fei", "彭飞", &[51], "ma.chao", "销售代表"),
    ("zeng.qi", "曾琪", &[4], "zhao.min", "前台"),
    ("xiao.han", "肖涵", &[4], "zhao.min", "会计"),
    ("ouyang.mei", "欧阳梅", &[2, 3], "chen.jing", "产品经理"),
];

/// Who is out of use, and who has not logged in yet.
const STATUSES: [(&str, u8); 2] = [("deng.hui", 2), ("song.jia", 4)];

/// Puts it there as if it had always been.
pub(super) fn seed(store: &mut Store, now: Timestamp) -> io::Result<()> {
    let departments = DEPARTMENTS_OF_SAMPLE.iter().map(|(id, name, parent, order, leader)| {
        let record = json!({
            "id": id, "name": name, "parentid": parent, "order": order, "department_leader": [leader],
        });
        Change::set(DEPARTMENTS, &department_key(*id), whole_department(&fields(record)))
    });
    let members = MEMBERS_OF_SAMPLE.iter().enumerate().map(|(n, (userid, name, of, leader, position))| {
        let leads = |id: &u64| {
            let led = |(of, _, _, _, by): &(u64, &str, u64, u64, &str)| of == id && by == userid;
            u8::from(DEPARTMENTS_OF_SAMPLE.iter().any(led))
        };
        let status = STATUSES.iter().find(|(of, _)| of == userid).map_or(1, |(_, status)| *status);
        let leaders: Vec<&str> = Some(*leader).filter(|leader| !leader.is_empty()).into_iter().collect();
        let record = json!({
            "userid": userid, "name": name, "department": of, "main_department": of.first(),
            "order": of.iter().map(|_| n).collect::<Vec<_>>(),
            "is_leader_in_dept": of.iter().map(leads).collect::<Vec<_>>(),
            "direct_leader": leaders, "position": position, "status": status, "enable": u8::from(status != 2),
            "mobile": format!("1380000{n:04}"), "email": format!("{}@xinghe.example", userid.to_lowercase()),
            "extattr": { "attrs": [{ "type": 0, "name": "工号", "text": { "value": format!("X{n:04}") } }] },
        });
        Change::set(MEMBERS, &member_key(userid), whole_member(&fields(record)))
    });
    store.commit(now, None, departments.chain(members).collect())
}

fn fields(record: Value) -> crate::upstream::Record {
    match record {
        Value::Object(fields) => fields,
        _ => crate::upstream::Record::new(),
    }
}
