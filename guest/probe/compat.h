/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between kernel versions and configurations, and nothing else. A feature that a
 * kernel lacks has no bit in COMPAT_FEATURES, which the callers check; its stand-in here does
 * nothing.
 */
#ifndef NLPROBE_COMPAT_H
#define NLPROBE_COMPAT_H

#include <linux/connector.h>
#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#include <net/genetlink.h>
#include <net/netlink.h>

#include "nlprobe.h"

#define COMPAT_SINCE(major, minor) (LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))
#define COMPAT_BIT(condition, bit) ((condition) ? (bit) : 0)

#ifdef NL_SET_ERR_MSG_FMT
#define COMPAT_ERR_MSG_FMT 1
#else
#define COMPAT_ERR_MSG_FMT 0
#endif

#ifdef NL_SET_ERR_ATTR_MISS
#define COMPAT_MISS_ATTR 1
#else
#define COMPAT_MISS_ATTR 0
#endif

#define COMPAT_FEATURES ( \
	COMPAT_BIT(COMPAT_SINCE(6, 2), NLPROBE_HAS_SPLIT_OPS) | \
	COMPAT_BIT(COMPAT_SINCE(6, 1), NLPROBE_HAS_RESV_START_OP) | \
	COMPAT_BIT(COMPAT_SINCE(6, 9), NLPROBE_HAS_FAMILY_BIND) | \
	COMPAT_BIT(COMPAT_SINCE(6, 8), NLPROBE_HAS_FILTERED_MULTICAST) | \
	COMPAT_BIT(COMPAT_SINCE(6, 7), NLPROBE_HAS_UINT) | \
	COMPAT_BIT(COMPAT_ERR_MSG_FMT, NLPROBE_HAS_ERR_MSG_FMT) | \
	COMPAT_BIT(COMPAT_MISS_ATTR, NLPROBE_HAS_MISS_ATTR) | \
	COMPAT_BIT(COMPAT_SINCE(5, 11), NLPROBE_HAS_NLATTR_HELPERS) | \
	COMPAT_BIT(IS_ENABLED(CONFIG_FAILSLAB), NLPROBE_HAS_FAIL_NTH) | \
	COMPAT_BIT(IS_BUILTIN(CONFIG_CONNECTOR), NLPROBE_HAS_CONNECTOR) | \
	COMPAT_BIT(IS_BUILTIN(CONFIG_CONNECTOR) && COMPAT_SINCE(6, 6), \
		   NLPROBE_HAS_CONNECTOR_FILTER))

/* Contexts. */

/* Runs a function in a softirq or, on kernels without a BH workqueue, with softirqs disabled. */
static inline void compat_run_in_bh(work_func_t fn, struct work_struct *work)
{
#if COMPAT_SINCE(6, 9)
	INIT_WORK_ONSTACK(work, fn);
	queue_work(system_bh_wq, work);
	flush_work(work);
	destroy_work_on_stack(work);
#else
	local_bh_disable();
	fn(work);
	local_bh_enable();
#endif
}

/* Attribute policies. */

#if COMPAT_SINCE(6, 7)
#define COMPAT_NLA_UINT NLA_UINT
#define COMPAT_NLA_SINT NLA_SINT
#else
#define COMPAT_NLA_UINT NLA_UNSPEC
#define COMPAT_NLA_SINT NLA_UNSPEC
#endif

static inline s64 compat_nla_strscpy(char *dst, const struct nlattr *attr, size_t size)
{
#if COMPAT_SINCE(5, 11)
	return nla_strscpy(dst, attr, size);
#else
	return 0;
#endif
}

/* Integers of variable size. */

#if COMPAT_SINCE(6, 7)
#define compat_put_uint nla_put_uint
#define compat_put_sint nla_put_sint
#define compat_get_uint nla_get_uint
#define compat_get_sint nla_get_sint
#else
static inline int compat_put_uint(struct sk_buff *skb, int type, u64 value)
{
	return -EOPNOTSUPP;
}

static inline int compat_put_sint(struct sk_buff *skb, int type, s64 value)
{
	return -EOPNOTSUPP;
}

static inline u64 compat_get_uint(const struct nlattr *attr)
{
	return 0;
}

static inline s64 compat_get_sint(const struct nlattr *attr)
{
	return 0;
}
#endif

/* Families and their commands. */

#if COMPAT_SINCE(6, 2)
#define compat_pre_op genl_split_ops
#else
#define compat_pre_op genl_ops

struct genl_split_ops {
	union {
		struct {
			int (*pre_doit)(const struct compat_pre_op *op, struct sk_buff *skb,
					struct genl_info *info);
			int (*doit)(struct sk_buff *skb, struct genl_info *info);
			void (*post_doit)(const struct compat_pre_op *op, struct sk_buff *skb,
					  struct genl_info *info);
		};
		struct {
			int (*start)(struct netlink_callback *cb);
			int (*dumpit)(struct sk_buff *skb, struct netlink_callback *cb);
			int (*done)(struct netlink_callback *cb);
		};
	};
	const struct nla_policy *policy;
	unsigned int maxattr;
	u8 cmd;
	u8 internal_flags;
	u8 flags;
	u8 validate;
};
#endif

static inline void compat_set_split_ops(struct genl_family *family,
					const struct genl_split_ops *ops, u8 count)
{
#if COMPAT_SINCE(6, 2)
	family->split_ops = ops;
	family->n_split_ops = count;
#endif
}

static inline void compat_set_resv_start_op(struct genl_family *family, u8 cmd)
{
#if COMPAT_SINCE(6, 1)
	family->resv_start_op = cmd;
#endif
}

/* Whether a command without a policy gets one that rejects every attribute. */
static inline bool compat_rejects_without_policy(const struct genl_family *family, u8 cmd)
{
#if COMPAT_SINCE(6, 1)
	return cmd >= family->resv_start_op;
#else
	return false;
#endif
}

/*
 * Whether the policy that a command without one gets is shorter than the command's own maxattr,
 * which newer versions keep: attributes would be looked up beyond its end.
 */
static inline bool compat_reject_policy_is_short(const struct genl_family *family, u8 cmd,
						 bool split)
{
#if COMPAT_SINCE(6, 13)
	return split || cmd >= family->resv_start_op;
#else
	return false;
#endif
}

static inline void compat_set_bind(struct genl_family *family, int (*bind)(int group),
				   void (*unbind)(int group))
{
#if COMPAT_SINCE(6, 9)
	family->bind = bind;
	family->unbind = unbind;
#endif
}

static inline void compat_set_group_flags(struct genl_multicast_group *group, bool net_admin,
					  bool sys_admin)
{
#ifdef GENL_MCAST_CAP_NET_ADMIN
	group->flags = (net_admin ? GENL_MCAST_CAP_NET_ADMIN : 0) |
		       (sys_admin ? GENL_MCAST_CAP_SYS_ADMIN : 0);
#else
	group->flags = net_admin ? GENL_UNS_ADMIN_PERM : 0;
	group->cap_sys_admin = sys_admin;
#endif
}

/* The arguments of a request's callbacks. */

static inline const struct genl_family *compat_dump_family(struct netlink_callback *cb)
{
#if COMPAT_SINCE(6, 6)
	return genl_dumpit_info(cb)->info.family;
#else
	return genl_dumpit_info(cb)->family;
#endif
}

static inline struct nlattr **compat_dump_attrs(struct netlink_callback *cb)
{
#if COMPAT_SINCE(6, 6)
	return genl_dumpit_info(cb)->info.attrs;
#else
	return genl_dumpit_info(cb)->attrs;
#endif
}

/* The genl_info of a dump, which is the family's to write to; NULL in versions that have none. */
static inline struct genl_info *compat_dump_genl_info(struct netlink_callback *cb)
{
#if COMPAT_SINCE(6, 6)
	return (struct genl_info *)genl_info_dump(cb);
#else
	return NULL;
#endif
}

/* Whether it names its family; in older versions it never does. */
static inline bool compat_info_has_family(const struct genl_info *info,
					  const struct genl_family *family)
{
#if COMPAT_SINCE(6, 6)
	return info->family == family;
#else
	return true;
#endif
}

static inline const void *compat_user_header(const struct genl_info *info)
{
#if COMPAT_SINCE(6, 6)
	return genl_info_userhdr(info);
#else
	return info->userhdr;
#endif
}

/* Extended acknowledgements. The macros need string literals; a script's texts are not. */

static inline void compat_set_err_msg(struct netlink_ext_ack *extack, const char *text)
{
#if COMPAT_SINCE(6, 1)
	do_trace_netlink_extack(text);
#endif
	if (extack)
		extack->_msg = text;
}

static inline void compat_set_err_msg_fmt(struct netlink_ext_ack *extack, const char *text)
{
#if COMPAT_ERR_MSG_FMT
	NL_SET_ERR_MSG_FMT(extack, "%s", text);
#endif
}

static inline void compat_set_miss_attr(struct netlink_ext_ack *extack,
					const struct nlattr *nest, u16 type)
{
#if COMPAT_MISS_ATTR
	NL_SET_ERR_ATTR_MISS(extack, nest, type);
#endif
}

/* Sends. */

typedef int (*compat_filter)(struct sock *sk, struct sk_buff *skb, void *data);

static inline int compat_multicast_filtered(const struct genl_family *family, struct net *net,
					    struct sk_buff *skb, u32 portid, u32 group, gfp_t gfp,
					    compat_filter filter, void *data)
{
#if COMPAT_SINCE(6, 8)
	return genlmsg_multicast_netns_filtered(family, net, skb, portid, group, gfp, filter, data);
#else
	kfree_skb(skb);
	return -EOPNOTSUPP;
#endif
}

/* The connector. Where it is a module, the probe does without it: it would need that one first. */

static inline int compat_cn_add_callback(struct cb_id *id, const char *name,
					 void (*callback)(struct cn_msg *,
							  struct netlink_skb_parms *))
{
#if IS_BUILTIN(CONFIG_CONNECTOR)
	return cn_add_callback(id, name, callback);
#else
	return -EOPNOTSUPP;
#endif
}

static inline void compat_cn_del_callback(struct cb_id *id)
{
#if IS_BUILTIN(CONFIG_CONNECTOR)
	cn_del_callback(id);
#endif
}

static inline int compat_cn_send(struct cn_msg *msg, u16 len, u32 portid, u32 group, gfp_t gfp,
				 compat_filter filter, void *data)
{
#if !IS_BUILTIN(CONFIG_CONNECTOR)
	return -EOPNOTSUPP;
#elif COMPAT_SINCE(6, 6)
	return cn_netlink_send_mult(msg, len, portid, group, gfp, filter, data);
#else
	return cn_netlink_send_mult(msg, len, portid, group, gfp);
#endif
}

/* Sets the allocation of this task that is to fail; returns the previous value. */
static inline unsigned int compat_swap_fail_nth(unsigned int nth)
{
#ifdef CONFIG_FAULT_INJECTION
	unsigned int before = READ_ONCE(current->fail_nth);

	WRITE_ONCE(current->fail_nth, nth);
	return before;
#else
	return 0;
#endif
}

static inline int compat_module_references(void)
{
#ifdef CONFIG_MODULE_UNLOAD
	return module_refcount(THIS_MODULE);
#else
	return 0;
#endif
}

#endif
